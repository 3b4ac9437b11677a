//! What one call of a script may differ in.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rhai::Dynamic;

use super::Fence;
use super::error::Limits;
use super::watch::{Budget, Printed, Sink};

/// One call: limits of its own, a way to end it from outside, what native functions should know
/// about it, and where it prints.
#[derive(Default, Clone)]
pub struct Call {
    operations: Option<u64>,
    time: Option<Duration>,
    memory: Option<u64>,
    cancel: Option<Arc<AtomicBool>>,
    tag: Option<Dynamic>,
    sink: Option<Sink>,
}

impl Call {
    /// A call under the engine's fence, printing to the log at level debug.
    pub fn new() -> Self {
        Self::default()
    }

    /// It may take this long, instead of what the fence says.
    pub fn within(mut self, time: Duration) -> Self {
        self.time = Some(time);
        self
    }

    /// It may take so many operations, instead of what the fence says.
    pub fn operations(mut self, most: u64) -> Self {
        self.operations = Some(most);
        self
    }

    /// It may hold so many bytes, instead of what the fence says.
    pub fn memory(mut self, most: u64) -> Self {
        self.memory = Some(most);
        self
    }

    /// It ends soon after `flag` becomes true.
    pub fn cancelled_by(mut self, flag: Arc<AtomicBool>) -> Self {
        self.cancel = Some(flag);
        self
    }

    /// Native functions can read this by [`super::tag`]: the run's id, the caller. A script cannot
    /// see it. Calls within the call have it too, unless they are tagged themselves.
    pub fn tagged(mut self, tag: Dynamic) -> Self {
        self.tag = Some(tag);
        self
    }

    /// `print` and `debug` go there. The sink is called while the script runs.
    pub fn printing_to(mut self, sink: impl Fn(Printed<'_>) + Send + Sync + 'static) -> Self {
        self.sink = Some(Arc::new(sink));
        self
    }

    pub(super) fn limits<'a>(&self, fence: &'a Fence) -> Limits<'a> {
        Limits {
            fence,
            operations: self.operations.unwrap_or(fence.operations),
            time: self.time.unwrap_or(fence.time),
            memory: self.memory.unwrap_or(fence.memory),
        }
    }

    pub(super) fn budget(&self, limits: &Limits<'_>, captures: bool) -> Budget {
        Budget {
            operations: limits.operations,
            time: limits.time,
            memory: limits.memory,
            printed: limits.fence.printed,
            captures,
            cancel: self.cancel.clone(),
            sink: self.sink.clone(),
            tag: self.tag.clone(),
        }
    }

    /// The frame around many calls: it says who may end them, and leaves the limits to each.
    pub(super) fn around(&self, limits: &Limits<'_>, captures: bool) -> Budget {
        Budget {
            operations: u64::MAX,
            time: self.time.unwrap_or(Duration::from_hours(24)),
            memory: u64::MAX,
            ..self.budget(limits, captures)
        }
    }

    /// One of many calls, within [`Call::around`].
    pub(super) fn each(fence: &Fence, limits: &Limits<'_>, captures: bool) -> Budget {
        Budget {
            operations: limits.operations,
            time: fence.time,
            memory: limits.memory,
            printed: 0,
            captures,
            cancel: None,
            sink: None,
            tag: None,
        }
    }
}
