"""The training engine: a plain library, no services needed.

    base = load_base("path/to/model")
    engine = Engine(base, token_budget=4096)
    engine.join(TrainingJob("a", LoraConfig(), resolve(TrainingConfig(), LoraConfig(), n), data))
    while not engine.jobs["a"].finished:
        for report in engine.step(): ...

Import from the modules: `base_model`, `engine`, `job`, `checkpoint`, `export`, `generation`.
"""
