//! Lines of a log as they come from a wind farm and what runs it: sixteen sources, each with a few
//! shapes of messages, about 200 bytes as NDJSON. The same number makes the same line.

use std::fmt::Write as _;

/// Where the time of the first line is: 2026-01-01, in microseconds.
const BEGIN: u64 = 1_767_225_600_000_000;
/// So late a line comes at most.
const LATE: u64 = 5_000_000;
/// So far apart lines are, on average.
const STEP: u64 = 1_000;

pub(crate) const SOURCES: [&str; 16] = [
    "scada-gateway",
    "pitch-control",
    "yaw-control",
    "forecast-train",
    "forecast-serve",
    "nwp-fetch",
    "feature-store",
    "power-curve",
    "inverter",
    "met-mast",
    "grid-operator",
    "storage",
    "auth",
    "scheduler",
    "quality-check",
    "edge-sync",
];
/// A line: what stands in it, and how it is sent.
pub(crate) struct Line {
    /// Microseconds since 1970.
    pub(crate) time: u64,
    pub(crate) level: &'static str,
    pub(crate) stream: &'static str,
    pub(crate) message: String,
}

/// Numbers that look like chance.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }
}

fn one_of<T: Copy + Default>(all: &[T], at: u64) -> T {
    usize::try_from(at).ok().and_then(|at| all.get(at)).copied().unwrap_or_default()
}

/// A word that stands in one line alone.
pub(crate) fn rare_word(number: u64) -> String {
    format!("req{:010x}", number.wrapping_mul(0x9E37_79B9) & 0xFF_FFFF_FFFF)
}

/// The line with this number.
pub(crate) fn line(number: u64) -> Line {
    let mut dice = Dice(number.wrapping_mul(0x2545_F491_4F6C_DD1D));
    let source = usize::try_from(dice.roll(16)).unwrap_or(0);
    // Some come late, as lines over a network do.
    let late = if dice.roll(50) == 0 { dice.roll(LATE) } else { 0 };
    let time = BEGIN + 10 * LATE + number * STEP + dice.roll(STEP) - late;
    let shape = dice.roll(4);
    let level = level(source, shape, dice.roll(100));
    let message = message(source, shape, number, &mut dice);
    Line { time, level, stream: one_of(&SOURCES, source as u64), message }
}

/// The level follows from what is said, nearly always.
fn level(source: usize, shape: u64, chance: u64) -> &'static str {
    match (source, shape, chance) {
        (3, 1, _) | (8, 1.., 0..30) | (13, 0, 0..20) => "ERROR",
        (0, 2.., _) | (2 | 12, 0, _) | (14, _, 0..50) | (_, _, 0) => "WARNING",
        (1, 1.., _) | (6 | 9, _, 0..30) => "DEBUG",
        _ => "INFO",
    }
}

#[expect(clippy::too_many_lines, reason = "a list of shapes")]
fn message(source: usize, shape: u64, number: u64, dice: &mut Dice) -> String {
    let turbine = format!("R{}", 80_711 + dice.roll(24) * 5);
    let mut text = String::with_capacity(160);
    let mut n = |sides: u64| dice.roll(sides);
    let written = match (source, shape) {
        (0, 0) => write!(
            text,
            "poll of {turbine} took {} ms: {} of 142 signals read, {} stale, checksum 0x{:08x}",
            n(900),
            130 + n(13),
            n(4),
            n(1 << 32)
        ),
        (0, 1) => write!(
            text,
            "connection from 10.{}.{}.{}:{} accepted for session {:08x}, protocol iec104, {} pending frames",
            n(8),
            n(256),
            n(256),
            1024 + n(60_000),
            n(1 << 32),
            n(64)
        ),
        (0, _) => write!(
            text,
            "register {} of {turbine} reads {}.{:02} where {}.{:02} was expected, quality flag {}, retry {} of 3",
            40_000 + n(9_000),
            n(2_000),
            n(100),
            n(2_000),
            n(100),
            n(8),
            n(4)
        ),
        (1, 0) => write!(
            text,
            "{turbine} blade {} pitch set to {}.{:02} deg, actual {}.{:02} deg, motor current {}.{} A",
            1 + n(3),
            n(90),
            n(100),
            n(90),
            n(100),
            n(40),
            n(10)
        ),
        (1, _) => write!(
            text,
            "{turbine} pitch loop iteration {} finished in {} us with error {}.{:03} and integral {}.{:04}",
            n(10_000_000),
            n(5_000),
            n(2),
            n(1_000),
            n(9),
            n(10_000)
        ),
        (2, 0) => write!(
            text,
            "{turbine} yaw misalignment of {}.{} deg over {} s, turning {} for {} s",
            n(30),
            n(10),
            n(600),
            if n(2) == 0 { "clockwise" } else { "counterclockwise" },
            n(120)
        ),
        (2, _) => write!(
            text,
            "{turbine} wind direction {} deg, nacelle {} deg, cable twist {}.{} turns, brake {}",
            n(360),
            n(360),
            n(3),
            n(10),
            if n(2) == 0 { "open" } else { "closed" }
        ),
        (3, 0) => write!(
            text,
            "epoch {} of 200: loss {}.{:06}, validation loss {}.{:06}, learning rate 0.{:06}, {} samples/s",
            n(200),
            n(3),
            n(1_000_000),
            n(3),
            n(1_000_000),
            n(10_000),
            n(90_000)
        ),
        (3, 1) => write!(
            text,
            "Traceback (most recent call last): File \"/opt/forecast/train.py\", line {}, in fit ValueError: input contains NaN in column ws_{}m at row {}",
            n(900),
            one_of(&[10, 50, 80, 100], n(4)),
            n(2_000_000)
        ),
        (3, _) => write!(
            text,
            "checkpoint model-{:06}.ckpt of {} MiB saved in {} ms, best score {}.{:05} at epoch {}",
            n(1_000_000),
            20 + n(400),
            n(3_000),
            n(1),
            n(100_000),
            n(200)
        ),
        (4, _) => write!(
            text,
            "{} GET /api/v1/forecast/{turbine}?horizon={}h 200 {} bytes in {} ms, cache {}, model wind-power@1.{}.{}",
            rare_word(number),
            1 + n(240),
            1_000 + n(90_000),
            n(400),
            if n(3) == 0 { "miss" } else { "hit" },
            n(9),
            n(30)
        ),
        (5, 0) => write!(
            text,
            "fetched gfs.t{:02}z.pgrb2.0p25.f{:03} from mirror {}: {} MiB in {}.{} s, sha256 {:016x}{:016x}",
            n(4) * 6,
            n(240),
            n(5),
            n(500),
            n(90),
            n(10),
            n(u64::MAX),
            n(u64::MAX)
        ),
        (5, _) => write!(
            text,
            "grid point {}.{:02}N {}.{:02}E interpolated from {} neighbours, ws100 {}.{:02} m/s, gust {}.{:02} m/s",
            40 + n(10),
            n(100),
            110 + n(10),
            n(100),
            4 + n(12),
            n(30),
            n(100),
            n(40),
            n(100)
        ),
        (6, _) => write!(
            text,
            "{} batch of {} rows for view turbine_features written, {} late, watermark 2026-01-{:02}T{:02}:{:02}:00Z",
            rare_word(number),
            n(5_000),
            n(50),
            1 + n(28),
            n(24),
            n(60)
        ),
        (7, _) => write!(
            text,
            "power curve of {turbine} refitted on {} points, cut-in {}.{:02} m/s, rated {}.{} kW, rmse {}.{:03}",
            n(50_000),
            2 + n(3),
            n(100),
            2_000 + n(80),
            n(10),
            n(90),
            n(1_000)
        ),
        (8, 0) => write!(
            text,
            "inverter INV-{:03} string {} at {}.{} V, {}.{:02} A, temperature {}.{} C, derating {} %",
            n(400),
            n(24),
            500 + n(400),
            n(10),
            n(12),
            n(100),
            20 + n(60),
            n(10),
            n(30)
        ),
        (8, _) => write!(
            text,
            "java.io.IOException: connection reset by inverter INV-{:03} at com.sungrid.modbus.Client.read(Client.java:{}) after {} attempts",
            n(400),
            n(900),
            1 + n(5)
        ),
        (9, _) => write!(
            text,
            "mast {} level {} m: speed {}.{:02} m/s, direction {} deg, temperature {}.{} C, pressure {}.{} hPa, icing {}",
            1 + n(6),
            one_of(&[10, 50, 80, 100], n(4)),
            n(30),
            n(100),
            n(360),
            n(35),
            n(10),
            980 + n(50),
            n(10),
            n(2)
        ),
        (10, 0) => write!(
            text,
            "调度指令 {} 已接收：全场有功上限 {}.{} MW，执行时间 {} s，确认码 {:06}",
            n(1_000_000),
            n(200),
            n(10),
            n(900),
            n(1_000_000)
        ),
        (10, _) => write!(
            text,
            "setpoint {}.{:02} MW received from grid operator, ramp {} MW/min, frequency {}.{:03} Hz, order {}",
            n(200),
            n(100),
            1 + n(20),
            49 + n(2),
            n(1_000),
            n(10_000_000)
        ),
        (11, _) => write!(
            text,
            "compaction of table {} level {} done: {} files, {} MiB in, {} MiB out, {} ms, write amplification {}.{}",
            n(40),
            n(6),
            n(30),
            n(900),
            n(700),
            n(60_000),
            1 + n(9),
            n(10)
        ),
        (12, 0) => write!(
            text,
            "Failed password for invalid user {} from 192.168.{}.{} port {} ssh2",
            one_of(&["admin", "root", "oracle", "test", "guest"], n(5)),
            n(256),
            n(256),
            1024 + n(60_000)
        ),
        (12, _) => write!(
            text,
            "token {:08x} of user operator{} verified in {} us, scopes fiche:read trajectory:write, {} s left",
            n(1 << 32),
            n(50),
            n(900),
            n(86_400)
        ),
        (13, _) => write!(
            text,
            "run {:08x}-{:04x} of pipeline forecast-{} entered state {}, node {} of {}, waited {} ms",
            n(1 << 32),
            n(1 << 16),
            n(20),
            one_of(&["queued", "running", "succeeded", "failed"], n(4)),
            n(12),
            12 + n(4),
            n(9_000)
        ),
        (14, _) => write!(
            text,
            "{} of {} rows of {turbine} outside [{}, {}] for column P_avg, {} interpolated, {} dropped, score {}.{:04}",
            n(400),
            4_000 + n(3_000),
            n(50),
            2_000 + n(100),
            n(200),
            n(90),
            n(1),
            n(10_000)
        ),
        _ => write!(
            text,
            "{} pushed {} changes to centre in {} ms, cursor {}, {} conflicts, link quality {} %",
            rare_word(number),
            n(500),
            n(9_000),
            number,
            n(3),
            n(101)
        ),
    };
    written.unwrap_or_default();
    text
}

impl Line {
    /// The line as NDJSON, with its end.
    pub(crate) fn put(&self, to: &mut String) {
        let (seconds, micros) = (self.time / 1_000_000, self.time % 1_000_000);
        let (days, of_day) = (seconds / 86_400, seconds % 86_400);
        // The lines are of one year, which begins on a day that is known.
        let day = days - BEGIN / 86_400_000_000;
        let (month, day) = month_and_day(day);
        let written = write!(
            to,
            "{{\"time\":\"2026-{month:02}-{day:02}T{:02}:{:02}:{:02}.{micros:06}Z\",\"level\":\"{}\",\"stream\":\"{}\",\"message\":",
            of_day / 3600,
            of_day / 60 % 60,
            of_day % 60,
            self.level,
            self.stream
        );
        written.unwrap_or_default();
        to.push_str(&serde_json::Value::from(self.message.as_str()).to_string());
        to.push_str("}\n");
    }
}

fn month_and_day(mut day: u64) -> (u64, u64) {
    for (month, days) in (1..).zip([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]) {
        if day < days {
            return (month, day + 1);
        }
        day -= days;
    }
    (12, 31)
}
