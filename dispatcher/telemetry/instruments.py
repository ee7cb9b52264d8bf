"""Counters, gauges and histograms that are cheap where the service is busy and bounded where it is wide.

They are collectors of prometheus-client, which renders them; its own instruments are not used because

* the hot path works in batches: a histogram here takes the 500 latencies of a batch in one call;
* one process may serve thousands of projects, and a label may not: past `PROJECT_LIMIT` projects the label
  `project` becomes `other`, and gauges of those add up (or, for ages, the greatest counts) instead of
  overwriting each other.

One event loop writes and renders them: there are no locks.
"""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, Literal, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from typing_extensions import override

PROJECT_LIMIT = 200
OTHER = "other"

Merge = Literal["sum", "max", "min"]

_Child = TypeVar("_Child")


class ProjectLabels:
    """Which projects keep their name as a label: the first `limit` that are seen."""

    def __init__(self, limit: int = PROJECT_LIMIT) -> None:
        self._limit = limit
        self._named: set[str] = set()

    def label(self, project: str) -> str:
        """The label of this project: its id, or `other`."""
        if project in self._named:
            return project
        if len(self._named) < self._limit:
            self._named.add(project)
            return project
        return OTHER


class Family(Collector, Generic[_Child]):
    """All series of one metric.

    Args:
        name: full name, a counter's with `_total`.
        labels: label names; `project` comes first if it is one of them.
        meaning: one line for people.
        projects: the shared choice of project labels.
    """

    type: Literal["counter", "gauge", "histogram"]

    def __init__(self, name: str, labels: tuple[str, ...], meaning: str, projects: ProjectLabels) -> None:
        self.name = name
        self.labels = labels
        self.meaning = meaning
        self._projects = projects
        self._by_project = labels[:1] == ("project",)
        self._children: dict[tuple[str, ...], _Child] = {}

    def of(self, *values: str) -> _Child:
        """The series with these label values, made at first sight; keep it where it is used often."""
        child = self._children.get(values)
        return child if child is not None else self._new(values)

    def _new(self, values: tuple[str, ...]) -> _Child:
        if len(values) != len(self.labels):
            raise ValueError(f"{self.name} has the labels {self.labels}, not {values}")
        key = self._public(values)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = self._make()
        return child

    def _public(self, values: tuple[str, ...]) -> tuple[str, ...]:
        return (self._projects.label(values[0]), *values[1:]) if self._by_project else values

    @abstractmethod
    def _make(self) -> _Child: ...


class Count:
    """One series of a counter."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1) -> None:
        """Count `amount` more."""
        self.value += amount


class Counter(Family[Count]):
    """A number that only grows."""

    type = "counter"

    @override
    def _make(self) -> Count:
        return Count()

    @override
    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(self.name, self.meaning, labels=self.labels)
        for values, child in self._children.items():
            family.add_metric(values, child.value)
        yield family


class Value:
    """One series of a gauge."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def set(self, value: float) -> None:
        """The number now."""
        self.value = value


_MERGES: dict[Merge, Callable[[list[float]], float]] = {"sum": sum, "max": max, "min": min}


class Gauge(Family[Value]):
    """A number that goes up and down.

    Args:
        merge: how the projects that share the label `other` come to one number.
    """

    type = "gauge"

    def __init__(
        self,
        name: str,
        labels: tuple[str, ...],
        meaning: str,
        projects: ProjectLabels,
        merge: Merge = "sum",
    ) -> None:
        super().__init__(name, labels, meaning, projects)
        self._merge = _MERGES[merge]

    @override
    def _new(self, values: tuple[str, ...]) -> Value:
        if len(values) != len(self.labels):
            raise ValueError(f"{self.name} has the labels {self.labels}, not {values}")
        child = self._children[values] = Value()  # each project its own, also past the limit
        return child

    def forget(self, *values: str) -> None:
        """Drop the series whose label values begin with these: of a project served no more, or of old reasons."""
        for key in [k for k in self._children if k[: len(values)] == values]:
            del self._children[key]

    @override
    def _make(self) -> Value:
        return Value()

    @override
    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(self.name, self.meaning, labels=self.labels)
        merged: dict[tuple[str, ...], list[float]] = {}
        for values, child in self._children.items():
            merged.setdefault(self._public(values), []).append(child.value)
        for values, numbers in merged.items():
            family.add_metric(values, self._merge(numbers))
        yield family


class Distribution:
    """One series of a histogram."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Take in one value."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def observe_many(self, values: Sequence[float]) -> None:
        """Take in all values of a batch.

        What travels together is of one age: mostly its least and greatest fall into the same bucket, and the
        others need not be looked at.
        """
        if not values:
            return
        self.total += sum(values)
        first = bisect_left(self._bounds, min(values))
        if first == bisect_left(self._bounds, max(values)):
            self.counts[first] += len(values)
            return
        counts, bounds = self.counts, self._bounds
        for value in values:
            counts[bisect_left(bounds, value)] += 1

    def buckets(self) -> Iterable[tuple[str, float]]:
        """(upper bound, values up to it), as Prometheus counts."""
        below = 0
        for bound, number in zip((*self._bounds, float("inf")), self.counts, strict=True):
            below += number
            yield ("+Inf" if bound == float("inf") else repr(float(bound))), below


class Histogram(Family[Distribution]):
    """How often values fall between bounds."""

    type = "histogram"

    def __init__(
        self,
        name: str,
        labels: tuple[str, ...],
        meaning: str,
        projects: ProjectLabels,
        bounds: tuple[float, ...],
    ) -> None:
        super().__init__(name, labels, meaning, projects)
        self.bounds = bounds

    @override
    def _make(self) -> Distribution:
        return Distribution(self.bounds)

    @override
    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(self.name, self.meaning, labels=self.labels)
        for values, child in self._children.items():
            family.add_metric(values, list(child.buckets()), child.total)
        yield family
