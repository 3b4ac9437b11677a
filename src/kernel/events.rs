//! The bus: a wake-up call between parts that do not know each other.
//!
//! A hearer can never fail the work that caused an event, and nothing may rely on an event arriving:
//! what must not be lost is read from the source's feed by a cursor. The bus only says when to look.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock};

use super::feed::Event;

type Hearer = Arc<dyn Fn(&Event) + Send + Sync>;

/// Carries events to whoever asked for their topic. Cheap to clone.
#[derive(Clone, Default)]
pub struct Bus {
    hearers: Arc<RwLock<Vec<(String, Hearer)>>>,
}

impl Bus {
    /// A bus with no hearers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Calls `hear` for every event whose name starts with `topic`; an empty topic hears all.
    /// Hearers must be quick: they run on the publisher's thread.
    pub fn hear(&self, topic: &str, hear: impl Fn(&Event) + Send + Sync + 'static) {
        let mut hearers = self.hearers.write().unwrap_or_else(PoisonError::into_inner);
        hearers.push((topic.to_owned(), Arc::new(hear)));
    }

    /// Tells every hearer. A hearer that panics is reported and harms nobody.
    pub fn publish(&self, event: &Event) {
        let hearers: Vec<Hearer> = {
            let all = self.hearers.read().unwrap_or_else(PoisonError::into_inner);
            all.iter()
                .filter(|(topic, _)| event.event.starts_with(topic))
                .map(|(_, h)| h.clone())
                .collect()
        };
        for hearer in hearers {
            if catch_unwind(AssertUnwindSafe(|| hearer(event))).is_err() {
                tracing::error!(event = %event.event, "a hearer of this event panicked");
            }
        }
    }
}

impl std::fmt::Debug for Bus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bus")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::clock::Time;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn a_topic_is_heard_and_a_panic_harms_nobody() {
        let bus = Bus::new();
        let heard = Arc::new(AtomicUsize::new(0));
        bus.hear("card.", |_| panic!("on purpose"));
        let count = heard.clone();
        bus.hear("card.", move |_| {
            count.fetch_add(1, Ordering::SeqCst);
        });
        for name in ["card.saved", "run.finished"] {
            bus.publish(&Event::new(name, "x", Time(0), serde_json::Value::Null));
        }
        assert_eq!(heard.load(Ordering::SeqCst), 1);
    }
}
