import type * as grafana from "@grafana/schema";

/** A type as its JSON has it: an enumeration's members are their plain values. */
type Wire<T> = T extends string
  ? `${T}`
  : T extends number | boolean | null | undefined
    ? T
    : T extends (infer Item)[]
      ? Wire<Item>[]
      : T extends object
        ? { [Key in keyof T]: Wire<T[Key]> }
        : T;

export type Dashboard = Wire<grafana.Dashboard>;
export type Drawing = Wire<grafana.GraphFieldConfig>;
export interface GraphOptions {
  legend: Wire<grafana.VizLegendOptions>;
  tooltip: Wire<grafana.VizTooltipOptions>;
}
