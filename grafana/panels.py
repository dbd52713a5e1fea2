"""The parts of dashboards: queries, panels and variables, on grafana-foundation-sdk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

from grafana_foundation_sdk.builders import bargauge, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders.common import (
    ReduceDataOptions,
    StackingConfig,
    VizLegendOptions,
    VizTooltipOptions,
)
from grafana_foundation_sdk.cog import builder, variants
from grafana_foundation_sdk.models import dashboard
from grafana_foundation_sdk.models.common import SortOrder, StackingMode, TooltipDisplayMode, VizOrientation

DATASOURCE = dashboard.DataSourceRef(type_val="grafana-postgresql-datasource", uid="tidemark")
REFERENCES = "ABCDEFGH"
WARN_PERCENT, ALARM_PERCENT = 80, 90


class SqlQuery(variants.Dataquery, builder.Builder[variants.Dataquery]):
    """A query of the PostgreSQL data source; `form` is `time_series` or `table`."""

    def __init__(self, sql: str, form: str, reference: str = "A") -> None:
        self.sql = sql
        self.form = form
        self.reference = reference

    def build(self) -> Self:
        """It is what it builds."""
        return self

    def to_json(self) -> dict[str, object]:
        """As Grafana keeps it."""
        return {
            "refId": self.reference,
            "datasource": DATASOURCE,
            "editorMode": "code",
            "format": self.form,
            "rawQuery": True,
            "rawSql": self.sql,
        }


class SqlAnnotation(dashboard.AnnotationTarget):
    """A query for annotations, for which the SDK has no field."""

    def __init__(self, sql: str) -> None:
        super().__init__()
        self._query = SqlQuery(sql, "table", "Anno")

    def to_json(self) -> dict[str, object]:
        """As Grafana keeps it."""
        return self._query.to_json()


def percents(warn: float = WARN_PERCENT, alarm: float = ALARM_PERCENT) -> build.ThresholdsConfig:
    """Green, then orange, then red."""
    return build.ThresholdsConfig().steps(
        [
            dashboard.Threshold(value=None, color="green"),
            dashboard.Threshold(value=warn, color="orange"),
            dashboard.Threshold(value=alarm, color="red"),
        ]
    )


def one_color(color: str) -> build.ThresholdsConfig:
    """No thresholds."""
    return build.ThresholdsConfig().steps([dashboard.Threshold(value=None, color=color)])


def _queries(statements: Sequence[str], form: str) -> list[builder.Builder[variants.Dataquery]]:
    return [SqlQuery(sql, form, reference) for sql, reference in zip(statements, REFERENCES, strict=False)]


def curve(
    title: str, unit: str, statements: str | Sequence[str], *, stacked: bool = False, span: int = 12, highest: float = 0
) -> timeseries.Panel:
    """Lines over time, or areas on top of each other."""
    panel = (
        timeseries.Panel()
        .title(title)
        .datasource(DATASOURCE)
        .unit(unit)
        .min(0)
        .span(span)
        .height(8)
        .interval("$interval")
        .fill_opacity(40 if stacked else 8)
        .legend(VizLegendOptions().show_legend(True))
        .tooltip(VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
        .targets(_queries([statements] if isinstance(statements, str) else statements, "time_series"))
    )
    if stacked:
        panel = panel.stacking(StackingConfig().mode(StackingMode.NORMAL))
    return panel.max(highest) if highest else panel


def ahead(panel: timeseries.Panel) -> timeseries.Panel:
    """A curve whose forecasts are dashed, with a link to a range that ends a week ahead."""
    dashed = {"custom.lineStyle": {"fill": "dash", "dash": [8, 8]}, "custom.fillOpacity": 0}
    values = [dashboard.DynamicConfigValue(id_val=one, value=value) for one, value in dashed.items()]
    link = build.DashboardLink("A week ahead").url("/d/${__dashboard.uid}?${__all_variables}&from=now-7d&to=now%2B7d")
    return panel.override_by_regexp("/ forecast$/", values).links([link])


def number(
    title: str, unit: str, statement: str, thresholds: build.ThresholdsConfig | None = None, *, span: int = 4
) -> stat.Panel:
    """One number, the newest of its query."""
    return (
        stat.Panel()
        .title(title)
        .datasource(DATASOURCE)
        .unit(unit)
        .span(span)
        .height(4)
        .interval("$interval")
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(thresholds or one_color("text"))
        .targets(_queries([statement], "table"))
    )


def bars(title: str, unit: str, statement: str, thresholds: build.ThresholdsConfig | None = None) -> bargauge.Panel:
    """A bar for each row of a table with a name and a value; a click on one leads to its host."""
    return (
        bargauge.Panel()
        .title(title)
        .datasource(DATASOURCE)
        .unit(unit)
        .min(0)
        .span(6)
        .height(9)
        .interval("$interval")
        .orientation(VizOrientation.HORIZONTAL)
        .reduce_options(ReduceDataOptions().values(True).calcs([]))
        .thresholds(thresholds or one_color("green"))
        .data_links([to_host("${__data.fields.host:percentencode}")])
        .targets(_queries([statement], "table"))
    )


def rows(title: str, statement: str, units: Mapping[str, str], *, span: int = 24) -> table.Panel:
    """A table; `units` are those of columns by their names."""
    panel = (
        table.Panel()
        .title(title)
        .datasource(DATASOURCE)
        .span(span)
        .height(9)
        .interval("$interval")
        .overrides([])
        .targets(_queries([statement], "table"))
    )
    for column, unit in units.items():
        panel = panel.override_by_name(column, [dashboard.DynamicConfigValue(id_val="unit", value=unit)])
    return panel


def linked(panel: table.Panel) -> table.Panel:
    """A table whose column `host` leads to its host."""
    link = to_host("${__value.raw:percentencode}").build()
    return panel.override_by_name("host", [dashboard.DynamicConfigValue(id_val="links", value=[link])])


def to_host(host: str) -> build.DashboardLink:
    """A link to a host's dashboard that keeps the range; `host` is encoded as the value of a parameter."""
    return build.DashboardLink("This host").url(f"/d/tidemark-host?var-host={host}&${{__url_time_range}}")


def host_variable() -> build.QueryVariable:
    """The hosts that there are."""
    sql = "SELECT DISTINCT host FROM catalog.series WHERE host IS NOT NULL ORDER BY 1"
    return _asked("host", "Host", sql)


def measurement_variable() -> build.QueryVariable:
    """The measurements that there are, several or all of them."""
    return (
        _asked("measurement", "Measurement", "SELECT name FROM catalog.measurement ORDER BY 1")
        .multi(True)
        .include_all(True)
    )


def _asked(name: str, label: str, sql: str) -> build.QueryVariable:
    return (
        build.QueryVariable(name)
        .label(label)
        .datasource(DATASOURCE)
        .query(sql)
        .refresh(dashboard.VariableRefresh.ON_DASHBOARD_LOAD)
    )


def interval_variable() -> build.CustomVariable:
    """The shortest interval of a panel; on a long range Grafana takes a longer one."""
    chosen = dashboard.VariableOption(selected=True, text="10s", value="10s")
    return build.CustomVariable("interval").label("Least interval").values("10s,1m,10m,1h,1d").current(chosen)


def board(
    uid: str,
    title: str,
    variables: Iterable[builder.Builder[dashboard.VariableModel]],
    sections: Mapping[str, Sequence[builder.Builder[dashboard.Panel]]],
    annotations: Sequence[dashboard.AnnotationQuery] = (),
) -> dashboard.Dashboard:
    """A dashboard of titled rows of panels, with links to the others."""
    made = (
        build.Dashboard(title)
        .uid(uid)
        .tags(["tidemark"])
        .time("now-6h", "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .variables([*variables, interval_variable()])
        .link(
            build.DashboardLink("Tidemark")
            .type(dashboard.DashboardLinkType.DASHBOARDS)
            .tags(["tidemark"])
            .keep_time(True)
            .icon("external link")
        )
    )
    for name, panels in sections.items():
        made = made.with_row(build.Row(name))
        for panel in panels:
            made = made.with_panel(panel)
    whole = made.build()
    for number_of_panel, panel_model in enumerate(whole.panels or (), 1):
        panel_model.id_val = number_of_panel
    whole.annotations = dashboard.AnnotationContainer(list(annotations))
    return whole


def annotation(name: str, sql: str) -> dashboard.AnnotationQuery:
    """Marks on every curve at the times that a query gives."""
    return dashboard.AnnotationQuery(
        name=name, datasource=DATASOURCE, enable=True, icon_color="purple", target=SqlAnnotation(sql)
    )


def trends(panel: table.Panel, key: str, statements: Mapping[str, str], unit: str) -> table.Panel:
    """Columns of sparklines beside a table that has one row for each value of `key`; statements by their titles.

    Each gives series with the label `key`. A reading that is missing, or comes later than those of others, is no gap.
    """
    sparkline = {"type": "sparkline", "spanNulls": True}
    reduced: Any = {}
    for reference, (name, sql) in zip(REFERENCES[1:], statements.items(), strict=False):
        reduced[reference] = {"stat": "lastNotNull"}
        properties = [("displayName", name), ("custom.cellOptions", sparkline), ("unit", unit)]
        panel = panel.with_target(SqlQuery(sql, "time_series", reference)).override_by_name(
            f"Trend #{reference}", [dashboard.DynamicConfigValue(id_val=one, value=value) for one, value in properties]
        )
    panel = panel.with_transformation(dashboard.DataTransformerConfig(id_val="timeSeriesTable", options=reduced))
    return panel.with_transformation(
        dashboard.DataTransformerConfig(id_val="joinByField", options={"byField": key, "mode": "outer"})
    )
