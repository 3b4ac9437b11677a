//! What the log counts of its own work, for whoever scrapes `/metrics`; nothing where there is none.

/// Records were written and synced, as one frame.
pub(crate) fn written(records: u64, bytes: usize) {
    count("drip_log_records_total", records);
    count("drip_log_written_bytes_total", bytes as u64);
    count("drip_log_syncs_total", 1);
}

/// A block of a sealed segment was looked into.
pub(crate) fn block_read() {
    count("drip_log_blocks_read_total", 1);
}

/// Bytes of sealed segments were read.
pub(crate) fn bytes_read(bytes: usize) {
    count("drip_log_read_bytes_total", bytes as u64);
}

/// Datagrams of syslog were lost.
pub(crate) fn syslog_lost(datagrams: usize) {
    count("drip_log_syslog_lost_total", datagrams as u64);
}

#[cfg(feature = "http")]
fn count(name: &'static str, by: u64) {
    metrics::counter!(name).increment(by);
}

#[cfg(not(feature = "http"))]
fn count(_name: &'static str, _by: u64) {}
