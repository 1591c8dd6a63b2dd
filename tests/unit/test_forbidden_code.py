"""Nothing in the product runs what others wrote: no pickle, no eval, no remote code, no shell."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from celery import Celery
from kombu import serialization
from kombu.exceptions import ContentDisallowed

from pando_shared.settings import Settings
from pando_shared.store.messages import make_celery
from pando_worker.tasks import prepare_app, training_app

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    path
    for folder in ("shared", "kernels", "services", "cli")
    for path in (ROOT / folder).rglob("*.py")
    if ".venv" not in path.parts
)
#: They make objects of bytes, and run what stands there.
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
FUNCTIONS = {"eval", "exec", "compile", "__import__"}


def calls(tree: ast.AST) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((each.value for each in call.keywords if each.arg == name), None)


def is_true(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Constant) and value.value is True


def offences(path: Path) -> list[str]:
    tree = ast.parse(path.read_text())
    found = []
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name.partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [(node.module or "").partition(".")[0]]
        found += [f"imports {name}" for name in names if name in MODULES]
    for call in calls(tree):
        called = ast.unparse(call.func)
        if called in FUNCTIONS:
            found.append(f"calls {called}")
        if called in ("torch.load", "yaml.load"):
            found.append(f"calls {called}")
        if is_true(keyword(call, "trust_remote_code")) or is_true(keyword(call, "allow_pickle")):
            found.append(f"{called} trusts what it reads")
        if is_true(keyword(call, "shell")) or called in ("os.system", "os.popen"):
            found.append(f"{called} runs a shell")
    return found


def test_there_is_something_to_look_at() -> None:
    assert len(SOURCES) > 300


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from marshal import loads",
        "eval('1')",
        "torch.load(x)",
        "AutoModel.from_pretrained(x, trust_remote_code=True)",
        "np.load(x, allow_pickle=True)",
        "subprocess.run(x, shell=True)",
    ],
)
def test_an_offence_would_be_seen(tmp_path: Path, code: str) -> None:
    path = tmp_path / "bad.py"
    path.write_text(code)
    assert offences(path)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_code_of_others_is_run(path: Path) -> None:
    assert offences(path) == []


@pytest.mark.parametrize("make", ["sender", "training", "prepare"])
def test_celery_takes_json_and_nothing_else(make: str) -> None:
    settings = Settings()
    apps: dict[str, Celery] = {
        "sender": make_celery(settings.redis_url),
        "training": training_app(settings, "w1"),
        "prepare": prepare_app(settings),
    }
    app = apps[make]
    assert list(app.conf.accept_content) == ["json"]
    assert app.conf.task_serializer == "json"
    assert app.conf.result_accept_content in (None, ["json"])


def test_a_message_that_would_run_code_is_not_read() -> None:
    accepted = serialization.prepare_accept_content(make_celery("redis://").conf.accept_content)
    payload = b"cos\nsystem\n(S'touch /tmp/owned'\ntR."
    with pytest.raises(ContentDisallowed):
        serialization.loads(payload, "application/x-python-serialize", "binary", accept=accepted)
