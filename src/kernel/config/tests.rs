use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::{ProptestConfig, any, proptest};
use tempfile::TempDir;

use super::*;
use crate::kernel::error::{Error, Kind, Result};

const SLICE_KEYS: &[Key] = &[
    Key::optional("cask.s3.listen", KeyKind::Text, "Where the S3 listener listens.")
        .must(Rule::Address),
    Key::secret("cask.s3.secret_key", "The key that S3 clients sign with."),
    Key::new("fiche.weight", KeyKind::Float, "0.5", "A number."),
    Key::new("fiche.labels", KeyKind::Table, "{}", "Free labels."),
];
const SCHEMA: &[&[Key]] = &[KERNEL_KEYS, SLICE_KEYS];
const NO_ENV: [(&str, &str); 0] = [];

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// A file that only its owner may read.
    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        chmod(&path, 0o600);
        path
    }
}

#[cfg(unix)]
fn chmod(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn with_file(text: &str) -> Result<Settings> {
    let folder = Folder::new();
    let path = folder.write("drip.toml", text);
    Settings::load(LoadOptions::new(SCHEMA).file(Some(path)))
}

fn with_env(env: &[(&str, &str)]) -> Result<Settings> {
    Settings::load(LoadOptions::new(SCHEMA).env(env.iter().copied()))
}

/// `place: sentence` of every fault, the folder of the file left out.
fn faults(error: &Error) -> Vec<String> {
    assert_eq!((error.kind(), error.kind().exit_code()), (Kind::Config, 78));
    let line = |fault: &crate::kernel::Fault| {
        let place = fault.pointer.rsplit('/').next().unwrap();
        format!("{place}: {}", fault.detail)
    };
    error.faults().iter().map(line).collect()
}

#[test]
fn without_a_file_the_defaults_hold() {
    let folder = Folder::new();
    let options = LoadOptions::new(SCHEMA).default_file(folder.0.path().join("drip.toml"));
    let settings = Settings::load(options).unwrap();
    assert_eq!(settings.text("server.listen").unwrap(), "127.0.0.1:22315");
    assert_eq!(settings.bytes("server.max_body").unwrap(), 10 << 20);
    assert_eq!(settings.duration("script.operator_deadline").unwrap(), Duration::from_millis(50));
    assert_eq!(settings.integer::<u32>("access.argon2_passes").unwrap(), 2);
    assert_eq!(settings.list("modules.enabled").unwrap().len(), 6);
    assert!(!settings.bool("server.behind_proxy").unwrap());
    assert_eq!(settings.float("fiche.weight").unwrap().to_bits(), 0.5_f64.to_bits());
    assert_eq!(settings.path("server.data").unwrap(), PathBuf::from("data/store"));
    assert!(settings.show().iter().all(|row| row.source == "default"));
    assert_eq!(settings.file(), None);
}

#[test]
fn each_layer_lies_over_the_one_before() {
    let folder = Folder::new();
    let text = "[server]\nlisten = \"127.0.0.1:1\"\nlog = \"debug\"\nmax_body = 2048\n";
    let path = folder.write("drip.toml", text);
    let load = |env: &[(&str, &str)], flags: &[(&str, &str)]| {
        let options = LoadOptions::new(SCHEMA).default_file(&path).env(env.iter().copied());
        let settings = Settings::load(options.flags(flags.iter().copied())).unwrap();
        let source = settings.source("server.listen").unwrap().to_string();
        let source = source.rsplit('/').next().unwrap().to_owned();
        (settings.text("server.listen").unwrap().to_owned(), source)
    };
    let env = [("DRIP_SERVER__LISTEN", "127.0.0.1:2"), ("PATH", "/bin")];
    assert_eq!(load(&[], &[]), ("127.0.0.1:1".into(), "drip.toml:2".into()));
    assert_eq!(load(&env, &[]), ("127.0.0.1:2".into(), "DRIP_SERVER__LISTEN".into()));
    let flags = [("server.listen", "127.0.0.1:3")];
    assert_eq!(load(&env, &flags), ("127.0.0.1:3".into(), "--listen".into()));
    let settings = Settings::load(LoadOptions::new(SCHEMA).default_file(&path)).unwrap();
    assert_eq!(settings.bytes("server.max_body").unwrap(), 2048);
    assert_eq!(settings.source("server.log").unwrap().to_string(), format!("{}:3", path.display()));
}

#[test]
fn variables_hold_every_kind_and_nested_sections() {
    let settings = with_env(&[
        ("DRIP_CASK__S3__LISTEN", "[::1]:9000"),
        ("DRIP_MODULES__ENABLED", "fiche, cask"),
        ("DRIP_SERVER__ALLOWED_HOSTS", ""),
        ("DRIP_SERVER__BEHIND_PROXY", "true"),
        ("DRIP_SERVER__MAX_BODY", "4096"),
        ("DRIP_ACCESS__SESSION_HOURS", " 3 "),
        ("DRIP_SCRIPT__DEADLINE", "90s"),
        ("DRIP_FICHE__WEIGHT", "2"),
        ("DRIP_FICHE__LABELS", "{ site = 'XJJX', capacity = 49 }"),
        ("DRIP_URL", "http://elsewhere"),
        ("DRIP_TOKEN", "drip_x"),
        ("DRIP_CONFIG", ""),
        ("DRIP_DATA", ""),
        ("DRIPPING", "not ours"),
    ])
    .unwrap();
    assert_eq!(settings.section("cask.s3").text("listen").unwrap(), "[::1]:9000");
    assert_eq!(settings.list("modules.enabled").unwrap(), ["fiche", "cask"]);
    assert!(settings.list("server.allowed_hosts").unwrap().is_empty());
    assert!(settings.section("server").bool("behind_proxy").unwrap());
    assert_eq!(settings.bytes("server.max_body").unwrap(), 4096);
    assert_eq!(settings.integer::<u8>("access.session_hours").unwrap(), 3);
    assert_eq!(settings.duration("script.deadline").unwrap(), Duration::from_secs(90));
    assert_eq!(settings.float("fiche.weight").unwrap().to_bits(), 2_f64.to_bits());
    assert_eq!(settings.table("fiche.labels").unwrap()["capacity"].as_integer(), Some(49));
}

#[test]
fn unknown_settings_are_named_with_what_was_meant() {
    let error = with_file(
        "listen = \"127.0.0.1:1\"\n[server]\nlisen = 3\ncolour = \"red\"\n\n[servers]\ndata = \"x\"\n\
         [empty]\n[fiche.upstream]\nurl = \"http://hq\"\n\"server.log\" = \"info\"\n",
    )
    .unwrap_err();
    assert_eq!(error.code(), "config_unknown_key");
    insta::assert_snapshot!(faults(&error).join("\n"), @r#"
    drip.toml:1: `listen` is not a setting
    drip.toml:3: `server.lisen` is not a setting: did you mean `server.listen`?
    drip.toml:4: `server.colour` is not a setting
    drip.toml:7: `servers.data` is not a setting: did you mean `server.data`?
    drip.toml:8: `empty` is not a setting
    drip.toml:10: `fiche.upstream.url` is not a setting
    drip.toml:11: `fiche.upstream."server.log"` is not a setting
    "#);
}

#[test]
fn unknown_variables_and_flags_are_named_too() {
    let env = [
        ("DRIP_SERVER__LISEN", "x"),
        ("DRIP_SERVER_LISTEN", "x"),
        ("DRIP_SERVER", "x"),
        ("DRIP_TOKN", "x"),
        ("DRIP_SOMETHING", "x"),
        ("DRIP_server__listen", "x"),
        ("DRIP_MAX_BODY", "x"),
    ];
    let options = LoadOptions::new(SCHEMA).env(env).flags([("server.dta", "x")]);
    let error = Settings::load(options).unwrap_err();
    assert_eq!(error.code(), "config_unknown_key");
    insta::assert_snapshot!(faults(&error).join("\n"), @r"
    DRIP_MAX_BODY: `DRIP_MAX_BODY` is not a setting: did you mean `DRIP_SERVER__MAX_BODY`?
    DRIP_SERVER: `DRIP_SERVER` is a section: name one of its settings, such as `DRIP_SERVER__LISTEN`
    DRIP_SERVER_LISTEN: `DRIP_SERVER_LISTEN` is not a setting: did you mean `DRIP_SERVER__LISTEN`?
    DRIP_SERVER__LISEN: `DRIP_SERVER__LISEN` is not a setting: did you mean `DRIP_SERVER__LISTEN`?
    DRIP_SOMETHING: `DRIP_SOMETHING` is not a setting
    DRIP_TOKN: `DRIP_TOKN` is not a setting: did you mean `DRIP_TOKEN`?
    DRIP_server__listen: `DRIP_server__listen` is not a setting: did you mean `DRIP_SERVER__LISTEN`?
    --dta: `server.dta` is not a setting: did you mean `server.data`?
    ");
}

#[test]
fn every_wrong_value_of_every_layer_is_reported_at_once() {
    let folder = Folder::new();
    let path = folder.write(
        "drip.toml",
        "[server]\nlisten = 22315\nmax_body = \"10 stones\"\nshutdown_grace = 10\nbehind_proxy = \"yes\"\n\
         allowed_hosts = [\"a\", 3]\nwrong = 1\n[modules]\nenabled = [\"fish\", \"cask\"]\n\
         [access]\nargon2_passes = 0\nsession_hours = 99999999999999999999\n[cask.s3]\nsecret_key = 12345\n\
         [[script]]\noperations = 1\n[fiche]\nweight = nan\nlabels = 2\n[server.log]\nlevel = \"info\"\n",
    );
    let env = [
        ("DRIP_ACCESS__LOGIN_ATTEMPTS", "many"),
        ("DRIP_SERVER__DATA", "/a"),
        ("DRIP_DATA", "/b"),
        ("DRIP_FICHE__LABELS", "not a table"),
    ];
    let options = LoadOptions::new(SCHEMA).file(Some(path)).env(env);
    let flags = [("server.listen", "nowhere"), ("script.memory", "1KiB")];
    let error = Settings::load(options.flags(flags)).unwrap_err();
    assert_eq!(error.code(), "config_bad_value");
    insta::assert_snapshot!(faults(&error).join("\n"), @r#"
    drip.toml:7: `server.wrong` is not a setting
    drip.toml:12: `access.session_hours`: the number 99999999999999999999 is too large
    drip.toml:2: `server.listen` must be text in quotes, such as "127.0.0.1:22315", not the whole number 22315
    drip.toml:3: `server.max_body`: `10 stones` is not a size: write a whole number and B, KiB, MiB, GiB, TiB (or kB, MB, GB, TB), such as 10MiB
    drip.toml:4: `server.shutdown_grace` must be a duration, such as "15s", not the whole number 10
    drip.toml:5: `server.behind_proxy` must be true or false, not the text "yes"
    drip.toml:6: `server.allowed_hosts`: it holds the whole number 3, and each item must be text
    drip.toml:9: `modules.enabled` does not know `fish` (did you mean `fiche`?): it may be fiche, cask, trajectory, liquid, atom, dashare
    drip.toml:11: `access.argon2_passes` must be at least 1, not 0
    drip.toml:14: `cask.s3.secret_key` must be text in quotes, not the whole number
    drip.toml:15: `script` is a section: write [script] and its settings below
    drip.toml:18: `fiche.weight` must be a number, such as 0.5, not the number NaN
    drip.toml:19: `fiche.labels` must be a table, such as { a = 1 }, not the whole number 2
    drip.toml:20: `server.log` must be text in quotes, such as "info", not a section
    DRIP_ACCESS__LOGIN_ATTEMPTS: `access.login_attempts` must be a whole number, such as 5, not the text "many"
    DRIP_FICHE__LABELS: `fiche.labels` must be a table, such as { a = 1 }, not the text "not a table"
    DRIP_DATA: `DRIP_DATA` and `DRIP_SERVER__DATA` name different data folders: keep one
    --listen: `server.listen` must be an address and a port, such as "127.0.0.1:22315" or "[::1]:22315", not "nowhere"
    --memory: `script.memory` must be at least 64KiB, not 1KiB
    "#);
}

#[test]
fn broken_syntax_is_told_by_line_beside_the_faults_of_other_layers() {
    let folder = Folder::new();
    let path = folder.write("drip.toml", "[server]\nlisten = \ndata = \"x\nlog = info\n");
    let options = LoadOptions::new(SCHEMA).file(Some(path)).env([("DRIP_NOTHING", "x")]);
    let error = Settings::load(options).unwrap_err();
    assert_eq!(error.code(), "config_bad_value");
    let shown = faults(&error);
    assert!(shown.iter().any(|line| line.starts_with("drip.toml:2: ")), "{shown:?}");
    assert!(shown.iter().any(|line| line.starts_with("DRIP_NOTHING: ")), "{shown:?}");
}

#[test]
fn a_named_file_must_be_there_and_be_a_file() {
    let folder = Folder::new();
    let absent = folder.0.path().join("absent.toml");
    let latin = folder.write("latin.toml", b"# caf\xe9\n");
    let large = folder.write("large.toml", vec![b'#'; (1 << 20) + 1]);
    for path in [&absent, folder.0.path(), &latin, &large, Path::new("")] {
        let named = LoadOptions::new(SCHEMA).file(Some(path.to_owned()));
        let error = Settings::load(named).unwrap_err();
        assert_eq!((error.code(), error.kind().exit_code()), ("config_missing", 78), "{error}");
        assert!(error.detail().contains(&path.display().to_string()), "{error}");
    }
    let by_variable = LoadOptions::new(SCHEMA).env([("DRIP_CONFIG", &absent)]);
    assert_eq!(Settings::load(by_variable).unwrap_err().code(), "config_missing");
    let usual = LoadOptions::new(SCHEMA).default_file(folder.0.path());
    assert_eq!(Settings::load(usual).unwrap_err().code(), "config_missing");
}

#[cfg(unix)]
#[test]
fn a_pipe_without_a_writer_and_a_dangling_link_do_not_pass_for_a_file() {
    let folder = Folder::new();
    let pipe = folder.0.path().join("pipe.toml");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();
    let link = folder.0.path().join("drip.toml");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    for path in [pipe, link] {
        let error = Settings::load(LoadOptions::new(SCHEMA).default_file(path)).unwrap_err();
        assert_eq!(error.code(), "config_missing", "{error}");
    }
}

#[test]
fn a_relative_data_folder_starts_where_it_was_written() {
    let folder = Folder::new();
    let path = folder.write("drip.toml", "[server]\ndata = \"store\"\n");
    let empty = folder.write("empty.toml", "");
    let data = |file: &Path, env: &[(&str, &str)]| {
        let options = LoadOptions::new(SCHEMA).file(Some(file.to_owned()));
        Settings::load(options.env(env.iter().copied())).unwrap().path("server.data").unwrap()
    };
    assert_eq!(data(&path, &[]), folder.0.path().join("store"));
    assert_eq!(data(&empty, &[]), folder.0.path().join("data/store"));
    assert_eq!(data(&path, &[("DRIP_DATA", "here")]), PathBuf::from("here"));
    assert_eq!(data(&path, &[("DRIP_DATA", "/abs")]), PathBuf::from("/abs"));
}

#[test]
fn secrets_come_from_the_file_a_variable_or_a_file_of_their_own() {
    let folder = Folder::new();
    folder.write("key", "  from a file\n");
    let load = |text: &str, env: &[(&str, &str)]| {
        let path = folder.write("drip.toml", text);
        let options = LoadOptions::new(SCHEMA).file(Some(path)).env(env.iter().copied());
        Settings::load(options).map(|s| s.secret("cask.s3.secret_key").unwrap().expose().to_owned())
    };
    assert_eq!(load("cask.s3.secret_key = 'plain'", &[]).unwrap(), "plain");
    assert_eq!(load("cask.s3.secret_key_file = 'key'", &[]).unwrap(), "  from a file");
    assert_eq!(load("", &[("DRIP_CASK__S3__SECRET_KEY", "v")]).unwrap(), "v");
    let by_variable = folder.0.path().join("key");
    let by_variable = [("DRIP_CASK__S3__SECRET_KEY_FILE", by_variable.to_str().unwrap())];
    assert_eq!(load("", &by_variable).unwrap(), "  from a file");
    for wrong in ["'absent'", "'.'", "''", "3"] {
        let error = load(&format!("cask.s3.secret_key_file = {wrong}"), &[]).unwrap_err();
        assert_eq!(error.code(), "config_bad_value", "{wrong}");
    }
    folder.write("key", "\n");
    assert!(load("cask.s3.secret_key_file = 'key'", &[]).is_err());
    assert!(load("cask.s3.secret_key = ' '", &[]).is_err());
}

#[test]
fn a_secret_is_given_once() {
    let folder = Folder::new();
    let key = folder.write("key", "k");
    let path = folder.write("drip.toml", "[cask.s3]\nsecret_key = 'plain'\n");
    let env = [("DRIP_CASK__S3__SECRET_KEY_FILE", key.to_str().unwrap())];
    let error = Settings::load(LoadOptions::new(SCHEMA).file(Some(path)).env(env)).unwrap_err();
    let shown = error.to_string();
    assert!(shown.contains("drip.toml:2") && shown.contains(env[0].0), "{shown}");
    assert!(!shown.contains("plain"), "{shown}");
}

#[cfg(unix)]
#[test]
fn a_file_with_secrets_that_others_may_read_is_refused_with_the_cure() {
    let folder = Folder::new();
    let path = folder.write("drip.toml", "cask.s3.secret_key = 'plain'");
    let load = || Settings::load(LoadOptions::new(SCHEMA).file(Some(path.clone())));
    for mode in [0o640, 0o604, 0o644] {
        chmod(&path, mode);
        let error = load().unwrap_err();
        assert_eq!(error.code(), "config_bad_value");
        assert!(error.faults()[0].detail.contains("run `chmod 600 "), "{error}");
    }
    chmod(&path, 0o600);
    assert!(load().is_ok());
    // Without a secret in it, everyone may read it.
    std::fs::write(&path, "server.log = 'info'").unwrap();
    chmod(&path, 0o644);
    assert!(load().is_ok());
}

#[test]
fn secrets_never_show() {
    let settings = with_file("cask.s3.secret_key = 'hunter2'").unwrap();
    let rows = settings.show();
    let row = rows.iter().find(|row| row.key == "cask.s3.secret_key").unwrap();
    assert_eq!((row.shown.as_str(), row.value.as_str()), ("••••••", Some("••••••")));
    let secret = settings.secret("cask.s3.secret_key").unwrap();
    let everywhere = [
        format!("{settings:?} {secret:?} {secret}"),
        serde_json::to_string(&rows).unwrap(),
        with_file("cask.s3.secret_key = ['hunter2']").unwrap_err().to_string(),
        with_file("cask.s3.secret_keys = 'hunter2'").unwrap_err().to_string(),
        with_file("cask.s3.secret_key = 'hunter2' 3").unwrap_err().to_string(),
        with_env(&[("DRIP_CASK__S3__SECRET_KY", "hunter2")]).unwrap_err().to_string(),
    ];
    for shown in everywhere {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn what_has_no_value_says_how_to_give_one() {
    let settings = Settings::load(LoadOptions::new(SCHEMA).env(NO_ENV)).unwrap();
    assert_eq!(settings.given("cask.s3.listen", Settings::text).unwrap(), None);
    assert!(!settings.section("cask.s3").is_set("listen"));
    let error = settings.text("cask.s3.listen").unwrap_err();
    assert_eq!(error.kind(), Kind::Config);
    assert!(error.detail().contains("DRIP_CASK__S3__LISTEN"));
    assert_eq!(settings.text("no.such").unwrap_err().kind(), Kind::Internal);
    assert_eq!(settings.bool("server.listen").unwrap_err().kind(), Kind::Internal);
    assert_eq!(settings.integer::<u8>("script.operations").unwrap_err().kind(), Kind::Config);
}

#[test]
fn sizes_go_both_ways() {
    for (text, bytes) in [
        ("10MiB", 10 << 20),
        ("2GB", 2_000_000_000),
        ("512 kib", 512 << 10),
        ("0", 0),
        ("7B", 7),
        ("1TiB", 1 << 40),
    ] {
        assert_eq!(parse_bytes(text).unwrap(), bytes, "{text}");
        assert_eq!(parse_bytes(&show_bytes(bytes)).unwrap(), bytes, "{text}");
    }
    assert_eq!(show_bytes(10 << 20), "10MiB");
    for wrong in ["", "MiB", "10M", "1.5GiB", "-1", "99999999TiB", "１０MiB"] {
        assert!(parse_bytes(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn thousands_of_faults_are_counted_and_only_some_are_listed() {
    let text = (0..5_000).fold(String::new(), |text, at| format!("{text}wrong_{at} = 1\n"));
    let error = with_file(&text).unwrap_err();
    assert_eq!(error.faults().len(), 101);
    assert_eq!(error.faults()[100].detail, "and 4900 more");
}

#[test]
fn the_sample_shows_what_has_no_default() {
    insta::assert_snapshot!(sample(&[SLICE_KEYS]).split_once("\n\n").unwrap().1, @r#"
    [cask.s3]
    # Where the S3 listener listens.
    #listen = ""  # no default
    # The key that S3 clients sign with.
    #secret_key = ""  # no default
    # Or, better, the path of a file that holds it.
    #secret_key_file = ""  # no default

    [fiche]
    # A number.
    #weight = 0.5
    # Free labels.
    #labels = {}
    "#);
}

#[test]
fn a_setting_declared_twice_is_a_fault_of_ours() {
    let twice: &[&[Key]] = &[KERNEL_KEYS, KERNEL_KEYS];
    assert_eq!(Settings::load(LoadOptions::new(twice)).unwrap_err().kind(), Kind::Internal);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_file_makes_the_loader_panic(bytes in any::<Vec<u8>>()) {
        let folder = Folder::new();
        let path = folder.write("drip.toml", bytes);
        if let Err(error) = Settings::load(LoadOptions::new(SCHEMA).file(Some(path))) {
            assert_eq!(error.kind(), Kind::Config);
        }
    }

    #[test]
    fn every_size_is_read_as_it_was_shown(bytes in any::<u64>()) {
        assert_eq!(parse_bytes(&show_bytes(bytes)).unwrap(), bytes);
    }
}
