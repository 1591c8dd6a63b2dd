"""Panels, rows and variables as Grafana's JSON has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

#: As deploy/grafana/provisioning/datasources/prometheus.yml has it.
DATASOURCE = {"type": "prometheus", "uid": "pando-prometheus"}
#: Grafana's grid is so many columns wide.
_COLUMNS = 24

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Panel:
    """A graph or a number. `queries` are pairs of expression and legend; `unit` is Grafana's id.

    `steps` are thresholds, value and color, beyond which it is bad. `kind` is Grafana's id of a
    visualization: timeseries, stat or bargauge.
    """

    title: str
    about: str
    unit: str
    queries: Sequence[tuple[str, str]]
    kind: str = "timeseries"
    width: int = 8
    height: int = 8
    stacked: bool = False
    logarithmic: bool = False
    least: float | None = 0
    most: float | None = None
    decimals: int | None = None
    steps: Sequence[tuple[float, str]] = ()

    def json(self, number: int, x: int, y: int) -> Json:
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.about,
            "datasource": DATASOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "targets": [
                {
                    "refId": chr(ord("A") + index),
                    "datasource": DATASOURCE,
                    "expr": expression,
                    "legendFormat": legend,
                    "instant": self.kind != "timeseries",
                    "range": self.kind == "timeseries",
                }
                for index, (expression, legend) in enumerate(self.queries)
            ],
            "fieldConfig": {"defaults": self._field(), "overrides": []},
            "options": self._options(),
        }

    def _field(self) -> Json:
        steps: list[Json] = [{"value": None, "color": "green"}]
        steps += [{"value": value, "color": color} for value, color in self.steps]
        defaults: Json = {
            "unit": self.unit,
            "color": {"mode": "palette-classic" if self._drawn else "thresholds"},
            "thresholds": {"mode": "absolute", "steps": steps},
        }
        for name, value in (("min", self.least), ("max", self.most), ("decimals", self.decimals)):
            if value is not None:
                defaults[name] = value
        if self._drawn:
            defaults["custom"] = self._drawing()
        return defaults

    @property
    def _drawn(self) -> bool:
        return self.kind == "timeseries"

    def _drawing(self) -> Json:
        scale: Json = {"type": "log", "log": 10} if self.logarithmic else {"type": "linear"}
        return {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 40 if self.stacked else 10,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if self.stacked else "none", "group": "A"},
            "scaleDistribution": scale,
            "thresholdsStyle": {"mode": "line" if self.steps else "off"},
        }

    def _options(self) -> Json:
        if self._drawn:
            legend = {
                "displayMode": "table",
                "placement": "bottom",
                "showLegend": True,
                "calcs": ["lastNotNull", "max"],
            }
            return {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}
        reduced = {"calcs": ["lastNotNull"], "fields": "", "values": False}
        if self.kind == "bargauge":
            return {
                "reduceOptions": reduced,
                "orientation": "horizontal",
                "displayMode": "basic",
                "showUnfilled": True,
            }
        return {
            "reduceOptions": reduced,
            "colorMode": "value",
            "graphMode": "none",
            "justifyMode": "auto",
            "orientation": "auto",
            "textMode": "value_and_name" if len(self.queries) > 1 else "auto",
        }


@dataclass(frozen=True, slots=True)
class Row:
    """A heading, and the panels below it."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice on top of the dashboard, of the values that a query finds."""

    name: str
    label: str
    query: str
    several: bool = True

    def json(self) -> Json:
        chosen = (
            {"includeAll": True, "multi": True, "allValue": ".*"}
            if self.several
            else {"includeAll": False, "multi": False}
        )
        return {
            "type": "query",
            "name": self.name,
            "label": self.label,
            "datasource": DATASOURCE,
            "query": {"query": self.query, "refId": self.name},
            "refresh": 2,
            "sort": 1,
            **chosen,
        }


@dataclass(frozen=True, slots=True)
class Dashboard:
    uid: str
    title: str
    about: str
    rows: Sequence[Row]
    variables: Sequence[Variable] = field(default_factory=tuple)

    def json(self) -> Json:
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.about,
            "tags": ["pando"],
            "timezone": "browser",
            "editable": True,
            "graphTooltip": 1,
            "schemaVersion": 41,
            "refresh": "15s",
            "time": {"from": "now-1h", "to": "now"},
            "templating": {"list": [variable.json() for variable in self.variables]},
            "links": [
                {
                    "title": "Pando",
                    "type": "dashboards",
                    "tags": ["pando"],
                    "asDropdown": False,
                    "icon": "external link",
                    "includeVars": True,
                    "keepTime": True,
                    "targetBlank": False,
                    "tooltip": "",
                    "url": "",
                }
            ],
            "panels": self._panels(),
        }

    def _panels(self) -> list[Json]:
        """All in a row below its heading, left to right, as many in a line as fit."""
        made: list[Json] = []
        y = 0
        for row in self.rows:
            place = {"x": 0, "y": y, "w": _COLUMNS, "h": 1}
            heading = {"id": len(made) + 1, "type": "row", "title": row.title, "gridPos": place}
            made.append({**heading, "collapsed": False, "panels": []})
            y += 1
            x = tallest = 0
            for panel in row.panels:
                if x + panel.width > _COLUMNS:
                    x, y, tallest = 0, y + tallest, 0
                made.append(panel.json(len(made) + 1, x, y))
                x, tallest = x + panel.width, max(tallest, panel.height)
            y += tallest
        return made
