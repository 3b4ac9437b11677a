//! The settings of the kernel and of the daemon's frame. Slices publish theirs in their own
//! `config.rs`.

use super::key::KeyKind::{Bool, Bytes, Duration, Integer, List, Text};
use super::key::{Key, Rule};

const MODULES: &[&str] = &["fiche", "cask", "trajectory", "liquid", "atom", "dashare"];
const DAY_MS: i64 = 86_400_000;
const KIB: i64 = 1 << 10;
const TIB: i64 = 1 << 40;

/// Sections `server`, `modules`, `compat`, `access` and `script`.
pub const KERNEL_KEYS: &[Key] = &[
    Key::new(
        "server.listen",
        Text,
        r#""127.0.0.1:22315""#,
        "Where the daemon listens. Port 0 takes a free port.",
    )
    .must(Rule::Address),
    Key::new(
        "server.data",
        Text,
        r#""data/store""#,
        "The data folder. A relative path starts at the folder of this file.",
    ),
    Key::new(
        "server.max_body",
        Bytes,
        r#""10MiB""#,
        "The largest body of a request that is not streamed.",
    )
    .must(Rule::Between(KIB, TIB)),
    Key::new(
        "server.behind_proxy",
        Bool,
        "false",
        "Believe X-Forwarded-For and X-Forwarded-Proto: only when a proxy of yours sets them.",
    ),
    Key::new(
        "server.allowed_hosts",
        List,
        "[]",
        "Host names that requests may use beside the loopback ones, such as \"drip.example.org\".",
    ),
    Key::new(
        "server.shutdown_grace",
        Duration,
        r#""10s""#,
        "How long requests may go on after the daemon was asked to stop.",
    )
    .must(Rule::Between(0, DAY_MS)),
    Key::new(
        "server.idle_timeout",
        Duration,
        r#""60s""#,
        "How long a connection is kept open until the head of its next request is there.",
    )
    .must(Rule::Between(100, DAY_MS)),
    Key::new(
        "server.stall_timeout",
        Duration,
        r#""30s""#,
        "How long the body of a request, or an answer that nobody takes, may stand still.",
    )
    .must(Rule::Between(100, DAY_MS)),
    Key::new(
        "server.max_connections",
        Integer,
        "4096",
        "How many connections are open at once, within half of the files that the system allows; further ones wait.",
    )
    .must(Rule::Between(1, 1_000_000)),
    Key::new(
        "server.log",
        Text,
        r#""info""#,
        "What the daemon logs: error, warn, info, debug, trace, also per part (\"info,drip::kernel=debug\").",
    ),
    Key::new(
        "modules.enabled",
        List,
        r#"["fiche", "cask", "trajectory", "liquid", "atom", "dashare"]"#,
        "The modules that this daemon serves.",
    )
    .must(Rule::OneOf(MODULES)),
    Key::new(
        "compat.enabled",
        Bool,
        "false",
        "Answer the clients of Drip 0.1 too, each module on an address of its own. They show no credential.",
    ),
    Key::new(
        "compat.role",
        Text,
        r#""publisher""#,
        "What those clients may do: viewer only reads, publisher also writes.",
    )
    .must(Rule::OneOf(&["viewer", "publisher"])),
    Key::new(
        "compat.from",
        List,
        r#"["127.0.0.1/32", "::1/128"]"#,
        "The addresses, or networks such as \"10.0.0.0/24\", that they may call from.",
    ),
    Key::new(
        "access.argon2_memory",
        Bytes,
        r#""19MiB""#,
        "Memory for hashing one password with argon2id (OWASP's advice).",
    )
    .must(Rule::Between(8 * KIB, 4 << 30)),
    Key::new("access.argon2_passes", Integer, "2", "Passes over that memory.")
        .must(Rule::Between(1, 100)),
    Key::new(
        "access.argon2_lanes",
        Integer,
        "1",
        "Lanes of argon2id; each needs 8 KiB of that memory.",
    )
    .must(Rule::Between(1, 64)),
    Key::new("access.session_hours", Integer, "12", "How many hours a login is valid.")
        .must(Rule::Between(1, 8760)),
    Key::new(
        "access.login_attempts",
        Integer,
        "5",
        "Failed logins in a row before the next one has to wait.",
    )
    .must(Rule::Between(1, 1000)),
    Key::new(
        "access.token_days",
        Integer,
        "90",
        "How many days an API token is valid when its maker does not say.",
    )
    .must(Rule::Between(1, 3650)),
    Key::new("script.operations", Integer, "50000000", "Steps that a pipeline's script may take.")
        .must(Rule::Between(1, i64::MAX)),
    Key::new("script.deadline", Duration, r#""5m""#, "Time that a pipeline's script may take.")
        .must(Rule::Between(1, 365 * DAY_MS)),
    Key::new("script.memory", Bytes, r#""512MiB""#, "Memory that a pipeline's script may hold.")
        .must(Rule::Between(64 * KIB, TIB)),
    Key::new(
        "script.operator_operations",
        Integer,
        "100000",
        "Steps that one call of an operator may take.",
    )
    .must(Rule::Between(1, i64::MAX)),
    Key::new(
        "script.operator_deadline",
        Duration,
        r#""50ms""#,
        "Time that one call of an operator may take.",
    )
    .must(Rule::Between(1, 365 * DAY_MS)),
    Key::new(
        "script.operator_memory",
        Bytes,
        r#""16MiB""#,
        "Memory that one call of an operator may hold.",
    )
    .must(Rule::Between(64 * KIB, TIB)),
];
