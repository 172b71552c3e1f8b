//! A recorder for metrics that keeps every value it is given.

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, Mutex};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata,
    SharedString, Unit,
};

/// What a metric is called: its name, and its labels as `key=value`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    pub name: String,
    pub labels: String,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Counter(u64),
    Gauge(f64),
    Histogram(Vec<f64>),
}

#[derive(Debug, Default)]
pub struct TestRecorder {
    values: Mutex<BTreeMap<Name, Arc<Cell>>>,
    descriptions: Mutex<BTreeMap<String, (Option<Unit>, String)>>,
}

#[derive(Debug)]
struct Cell(Mutex<Value>);

impl TestRecorder {
    /// Every metric that was registered, with what was recorded since the last call. Gauges keep
    /// their value.
    pub fn take(&self) -> Vec<(Name, Value)> {
        let values = self.values.lock().unwrap();
        let values = values.iter().map(|(name, cell)| {
            let mut value = cell.0.lock().unwrap();
            let taken = match &mut *value {
                Value::Counter(count) => Value::Counter(mem::take(count)),
                Value::Gauge(value) => Value::Gauge(*value),
                Value::Histogram(values) => Value::Histogram(mem::take(values)),
            };
            (name.clone(), taken)
        });
        values.collect()
    }

    /// The unit and the description of the metric `name`.
    pub fn description(&self, name: &str) -> Option<(Option<Unit>, String)> {
        self.descriptions.lock().unwrap().get(name).cloned()
    }

    fn describe(&self, name: KeyName, unit: Option<Unit>, description: SharedString) {
        let described = (unit, description.into_owned());
        let mut descriptions = self.descriptions.lock().unwrap();
        descriptions.insert(name.as_str().to_owned(), described);
    }

    fn register(&self, key: &Key, start: Value) -> Arc<Cell> {
        let labels = key
            .labels()
            .map(|label| format!("{}={}", label.key(), label.value()));
        let name = Name {
            name: key.name().to_owned(),
            labels: labels.collect::<Vec<_>>().join(" "),
        };
        let mut values = self.values.lock().unwrap();
        let cell = values.entry(name);
        Arc::clone(cell.or_insert_with(|| Arc::new(Cell(Mutex::new(start)))))
    }
}

impl metrics::Recorder for TestRecorder {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, description: SharedString) {
        self.describe(name, unit, description);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, description: SharedString) {
        self.describe(name, unit, description);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, description: SharedString) {
        self.describe(name, unit, description);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.register(key, Value::Counter(0)).into()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.register(key, Value::Gauge(0.0)).into()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.register(key, Value::Histogram(Vec::new())).into()
    }
}

impl CounterFn for Cell {
    fn increment(&self, by: u64) {
        if let Value::Counter(count) = &mut *self.0.lock().unwrap() {
            *count += by;
        }
    }

    fn absolute(&self, count: u64) {
        *self.0.lock().unwrap() = Value::Counter(count);
    }
}

impl GaugeFn for Cell {
    fn increment(&self, by: f64) {
        if let Value::Gauge(value) = &mut *self.0.lock().unwrap() {
            *value += by;
        }
    }

    fn decrement(&self, by: f64) {
        GaugeFn::increment(self, -by);
    }

    fn set(&self, value: f64) {
        *self.0.lock().unwrap() = Value::Gauge(value);
    }
}

impl HistogramFn for Cell {
    fn record(&self, value: f64) {
        if let Value::Histogram(values) = &mut *self.0.lock().unwrap() {
            values.push(value);
        }
    }
}
