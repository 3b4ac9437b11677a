//! Figures of the process and its requests, as Prometheus reads them.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

const SECONDS: &[f64] = &[0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0];

static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
static START: OnceLock<Instant> = OnceLock::new();

/// Starts recording; later calls change nothing.
pub(super) fn start() {
    START.get_or_init(Instant::now);
    RECORDER.get_or_init(|| {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("seconds".into()), SECONDS)
            .ok()?;
        // A program that embeds Drip may record its own figures; then ours go there.
        builder.install_recorder().ok()
    });
}

/// How long the process has been recording.
pub(super) fn uptime() -> Duration {
    START.get().map(Instant::elapsed).unwrap_or_default()
}

/// The text that Prometheus scrapes.
pub(super) fn render() -> String {
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    metrics::gauge!("process_resident_memory_bytes").set(resident_bytes() as f64);
    metrics::gauge!("process_uptime_seconds").set(uptime().as_secs_f64());
    let recorder = RECORDER.get().and_then(Option::as_ref);
    recorder.map(PrometheusHandle::render).unwrap_or_default()
}

/// The memory that the process holds, as the kernel counts it; 0 where it does not say.
pub(super) fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok().and_then(|text| {
        text.split_ascii_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok())
    });
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}
