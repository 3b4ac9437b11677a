use std::fmt::Write as _;

use tempfile::TempDir;

use super::*;
use crate::kernel::Kind;
use crate::kernel::config::{KERNEL_KEYS, LoadOptions, Rule, Settings};

const SLICES: &[Key] = &[
    Key::optional("compat.fiche", KeyKind::Text, "An address.").must(Rule::Address),
    Key::optional("fiche.records", KeyKind::Text, "A place for cards."),
    Key::optional("cask.s3.listen", KeyKind::Text, "An address.").must(Rule::Address),
    Key::optional("cask.s3.access_key", KeyKind::Text, "A name."),
    Key::secret("cask.s3.secret_key", "A secret."),
    Key::new("compat.auto_approve", KeyKind::Bool, "false", "A switch."),
];

const PLATFORM: &str = "\
# 平台配置
drip_webui_host: 0.0.0.0
drip_webui_port: 22315
drip_mongo_db: drip
drip_mongo_host: 10.0.0.7
drip_mongo_port: 27017
drip_mongo_username: root
drip_mongo_password: hunter2
drip_minio_host: 127.0.0.1
drip_minio_port: 9000
drip_ttyd_host: 127.0.0.1
drip_ttyd_port: 7681
";
const FICHE: &str =
    "host: 10.0.0.7\nport: 27017\nusername: root\npassword: hunter2\ndatabase: fiche\n";
const ATOM: &str = "store: minio\nstore_host: 127.0.0.1\nstore_port: 9000\n";
const GROWN: &str = "\
Logging: {Level: WARNING}
modules: [Fiche, cask]
webui: {listen: 'http://localhost:8080/'}
fiche:
  host: 0.0.0.0
  port: 11811
  mongodb: {uri: 'mongodb://ada:hunter2@db:27017/fiche?authSource=admin'}
minio:
  endpoint: minio.example.org:9000
  accessKey: minioadmin
  secretKey: hunter2
dashare:
  auto-approve: yes
  dashare_metadb_path: 'D:\\Workspace\\dashare.db'
  jwt_secret: hunter2
data_dir: /srv/drip
nothing:
forecast:
  sites: [{name: XJJX, capacity: 49.5}, {name: 望洋台}]
  feed: 'https://ada:hunter2@nwp.example.org/'
";

fn import_texts(files: &[(&str, &str)], schema: &[&[Key]]) -> Result<Imported> {
    let folder = TempDir::new().unwrap();
    let write = |(name, text): &(&str, &str)| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let paths: Vec<PathBuf> = files.iter().map(write).collect();
    import(&paths, schema)
}

/// The imported text as settings: whatever came in, it must load.
fn load(imported: &Imported, schema: &[&[Key]]) -> Settings {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("drip.toml");
    std::fs::write(&path, &imported.toml).unwrap();
    Settings::load(LoadOptions::new(schema).file(Some(path))).unwrap()
}

#[test]
fn the_platforms_own_files_become_settings_where_there_are_some() {
    let schema: &[&[Key]] = &[KERNEL_KEYS];
    let files =
        [("drip_config.yaml", PLATFORM), ("fiche_config.yaml", FICHE), ("atom_config.yaml", ATOM)];
    let imported = import_texts(&files, schema).unwrap();
    assert_eq!(load(&imported, schema).text("server.listen").unwrap(), "0.0.0.0:22315");
    insta::assert_snapshot!(imported.toml, @r#"
    # Made by `dripctl config import` from drip_config.yaml, fiche_config.yaml, atom_config.yaml.
    # A line that begins with # was not taken over; its end says why.

    server.listen = "0.0.0.0:22315"  # from drip_config.yaml: drip_webui_host, drip_webui_port

    # fiche.records = "mongodb://root@10.0.0.7:27017/fiche"  # from fiche_config.yaml: host, port, username, database: this Drip has no such setting
    # fiche.records = "mongodb://root@10.0.0.7:27017/drip"  # from drip_config.yaml: drip_mongo_host, drip_mongo_port, drip_mongo_username, drip_mongo_db: this Drip has no such setting
    # cask.s3.listen = "127.0.0.1:9000"  # from atom_config.yaml: store_host, store_port: this Drip has no such setting
    # cask.s3.listen = "127.0.0.1:9000"  # from drip_config.yaml: drip_minio_host, drip_minio_port: this Drip has no such setting
    # Not copied, for fiche.records: the password of MongoDB (from fiche_config.yaml: password)
    # Not copied, for fiche.records: the password of MongoDB (from drip_config.yaml: drip_mongo_password)

    # Not known to Drip, from the files as they were:
    # drip_config.yaml: drip_ttyd_host = "127.0.0.1"
    # drip_config.yaml: drip_ttyd_port = "7681"
    # atom_config.yaml: store = "minio"
    "#);
    insta::assert_snapshot!(imported.notes.join("\n"), @r#"
    `server.listen`: it is open to other machines: name the hosts they may use in `server.allowed_hosts`
    fiche_config.yaml: host, port, username, database: `fiche.records = "mongodb://root@10.0.0.7:27017/fiche"` is only a comment: this Drip has no such setting
    drip_config.yaml: drip_mongo_host, drip_mongo_port, drip_mongo_username, drip_mongo_db: `fiche.records = "mongodb://root@10.0.0.7:27017/drip"` is only a comment: this Drip has no such setting
    atom_config.yaml: store_host, store_port: `cask.s3.listen = "127.0.0.1:9000"` is only a comment: this Drip has no such setting
    `cask.s3.listen`: Drip keeps artifacts itself; its S3 listener can take MinIO's place there once MinIO is stopped
    drip_config.yaml: drip_minio_host, drip_minio_port: `cask.s3.listen = "127.0.0.1:9000"` is only a comment: this Drip has no such setting
    fiche_config.yaml: password: the password of MongoDB is a secret and was not copied: this Drip has no setting `fiche.records` for it
    drip_config.yaml: drip_mongo_password: the password of MongoDB is a secret and was not copied: this Drip has no setting `fiche.records` for it
    drip_config.yaml: drip_ttyd_host: not taken over: Drip does not know it (value "127.0.0.1")
    drip_config.yaml: drip_ttyd_port: not taken over: Drip does not know it (value "7681")
    atom_config.yaml: store: not taken over: Drip does not know it (value "minio")
    "#);
}

#[test]
fn sections_that_people_grew_are_understood_too() {
    let schema: &[&[Key]] = &[KERNEL_KEYS, SLICES];
    let imported = import_texts(&[("drip_config.yaml", GROWN)], schema).unwrap();
    let settings = load(&imported, schema);
    assert_eq!(settings.list("modules.enabled").unwrap(), ["fiche", "cask"]);
    assert!(settings.bool("compat.auto_approve").unwrap());
    insta::assert_snapshot!(imported.toml, @r#"
    # Made by `dripctl config import` from drip_config.yaml.
    # A line that begins with # was not taken over; its end says why.

    server.log = "warn"  # from drip_config.yaml: Logging.Level
    modules.enabled = ["fiche", "cask"]  # from drip_config.yaml: modules
    compat.auto_approve = true  # from drip_config.yaml: dashare.auto-approve
    server.data = "/srv/drip"  # from drip_config.yaml: data_dir
    server.listen = "localhost:8080"  # from drip_config.yaml: webui.listen
    fiche.records = "mongodb://ada@db:27017/fiche?authSource=admin"  # from drip_config.yaml: fiche.mongodb.uri
    cask.s3.access_key = "minioadmin"  # from drip_config.yaml: minio.accessKey
    compat.fiche = "0.0.0.0:11811"  # from drip_config.yaml: fiche.host, fiche.port

    # cask.blobs = "minio.example.org:9000"  # from drip_config.yaml: minio.endpoint: this Drip has no such setting
    # Not copied, for fiche.records: the password in the URL of MongoDB (from drip_config.yaml: fiche.mongodb.uri)
    # Not copied, for cask.s3.secret_key: the secret key of MinIO (from drip_config.yaml: minio.secretKey)

    # Not known to Drip, from the files as they were:
    # drip_config.yaml: dashare.dashare_metadb_path = "D:\\Workspace\\dashare.db"
    # drip_config.yaml: nothing
    # drip_config.yaml: forecast.sites.0.name = "XJJX"
    # drip_config.yaml: forecast.sites.0.capacity = "49.5"
    # drip_config.yaml: forecast.sites.1.name = "望洋台"
    # drip_config.yaml: forecast.feed
    # drip_config.yaml: dashare.jwt_secret
    "#);
    insta::assert_snapshot!(imported.notes.join("\n"), @r#"
    `server.data`: Drip makes its own files in that folder and does not read those of the original
    `cask.s3.access_key`: `minioadmin` is what everyone tries first: take another name
    drip_config.yaml: minio.endpoint: `cask.blobs = "minio.example.org:9000"` is only a comment: this Drip has no such setting
    `cask.blobs`: this MinIO is on another machine: name it as the place for artifacts if it shall stay so
    `compat.fiche`: the paths of 0.1 are there only with `compat.enabled = true`, for those that `compat.from` names
    drip_config.yaml: fiche.mongodb.uri: the password in the URL of MongoDB is a secret and was not copied: give the whole value as `DRIP_FICHE__RECORDS`, not in drip.toml
    drip_config.yaml: minio.secretKey: the secret key of MinIO is a secret and was not copied: put it into a file and name that as `cask.s3.secret_key_file`, or give it as `DRIP_CASK__S3__SECRET_KEY`
    drip_config.yaml: dashare.dashare_metadb_path: not taken over: Drip does not know it (value "D:\\Workspace\\dashare.db")
    drip_config.yaml: nothing: not taken over: it has no value
    drip_config.yaml: forecast.sites.0.name: not taken over: Drip does not know it (value "XJJX")
    drip_config.yaml: forecast.sites.0.capacity: not taken over: Drip does not know it (value "49.5")
    drip_config.yaml: forecast.sites.1.name: not taken over: Drip does not know it (value "望洋台")
    drip_config.yaml: forecast.feed: not taken over: Drip does not know it; its value looks like a secret
    drip_config.yaml: dashare.jwt_secret: not taken over: Drip does not know it; its value looks like a secret
    "#);
}

#[test]
fn no_secret_is_copied() {
    let files =
        [("drip_config.yaml", PLATFORM), ("fiche_config.yaml", FICHE), ("more.yaml", GROWN)];
    for schema in [&[KERNEL_KEYS][..], &[KERNEL_KEYS, SLICES]] {
        let imported = import_texts(&files, schema).unwrap();
        let all = format!("{imported:?}");
        assert!(!all.contains("hunter2"), "{all}");
    }
}

#[test]
fn credentials_inside_addresses_stay_behind() {
    let text = "minio: {url: 'http://ada:hunter2@minio:9000/'}\nwebui_host: 'ada:hunter2@here'\n\
                fiche: {endpoint: 'x://ada:hunter2@h'}\nother: 'ada:hunter2@h'\nlist: ['a', 'ada:hunter2@h']\n\
                feed: 'https://nwp.example.org/?user=ada&password=hunter2'\n\
                mongo: 'mongodb://ada:hun/ter2@db/x'\nmongo_url: 'mongodb://db/?password=hunter2'\n\
                trajectory: {mongo: {host: 'a:1,b:2', user: 'ada@site'}}\n";
    let imported = import_texts(&[("drip_config.yaml", text)], &[KERNEL_KEYS, SLICES]).unwrap();
    load(&imported, &[KERNEL_KEYS, SLICES]);
    let all = format!("{imported:?}");
    assert!(!all.contains("hunter2") && !all.contains("ter2"), "{all}");
    assert!(imported.toml.contains("mongodb://ada%40site@a:1,b:2/"), "{}", imported.toml);
}

#[test]
fn every_name_is_in_the_text_or_in_the_notes() {
    let imported =
        import_texts(&[("a.yaml", PLATFORM), ("b.yaml", GROWN)], &[KERNEL_KEYS]).unwrap();
    let all = format!("{}{}", imported.toml, imported.notes.join("\n"));
    let names = PLATFORM.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name);
    let grown = [
        "Logging.Level",
        "webui.listen",
        "fiche.mongodb.uri",
        "minio.secretKey",
        "dashare.jwt_secret",
        "nothing",
        "forecast.sites.0.name",
        "forecast.sites.1.name",
        "望洋台",
    ];
    for name in names.chain(grown) {
        assert!(all.contains(name), "{name} is lost:\n{all}");
    }
}

#[test]
fn a_value_cannot_pass_for_a_setting() {
    let text = "other: \"x\\n[server]\\nlisten = 'evil:1'\\u2028\"\n\"a\\nserver.log = 'evil'\": 1\nlog_level: \"in\\nfo\"\n\
                drip_webui_host: \"a b\\n\"\nfiche: {mongodb: {host: \"h\\nx\", port: 1, db: \"a/b?c\"}}\n";
    let imported = import_texts(&[("drip_config.yaml", text)], &[KERNEL_KEYS]).unwrap();
    let settings = load(&imported, &[KERNEL_KEYS]);
    assert!(settings.show().iter().all(|row| row.source == "default"), "{}", imported.toml);
}

#[test]
fn hostile_files_are_refused_in_a_sentence() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..30 {
        let below = format!("*a{}", level - 1);
        let ten = vec![below; 10].join(", ");
        writeln!(bomb, "a{level}: &a{level} [{ten}]").unwrap();
    }
    let long = "x".repeat(60_000);
    let text_bomb = format!("a: &a {long}\nb: [{}]\n", vec!["*a"; 1_000].join(", "));
    let deep = "[".repeat(100_000);
    let nested =
        (0..300).fold(String::new(), |text, depth| format!("{text}{}a:\n", " ".repeat(depth)));
    let huge = "a: 1\n".repeat(100_000);
    let many = (0..12_000).fold(String::new(), |text, at| format!("{text}a{at}:\n"));
    for (what, text) in [
        ("bomb", bomb.as_str()),
        ("text bomb", &text_bomb),
        ("deep", &deep),
        ("nested", &nested),
        ("many", &many),
        ("itself", "a: &a [*a]"),
        ("no alias", "a: *b"),
        ("a list", "- a\n- b\n"),
        ("a word", "drip"),
        ("nothing", ""),
        ("two documents", "a: 1\n---\nb: 2\n"),
        ("a complex name", "? [a]\n: 1\n"),
        ("a tab", "a:\n\t- b\n"),
        ("open quotes", "a: 'b"),
    ] {
        let error = import_texts(&[("drip_config.yaml", text)], &[KERNEL_KEYS]).unwrap_err();
        assert_eq!((error.kind(), error.code()), (Kind::Invalid, "config_bad_yaml"), "{what}");
        assert!(error.detail().starts_with("`drip_config.yaml` "), "{what}: {error}");
    }
    let error = import_texts(&[("drip_config.yaml", &huge)], &[KERNEL_KEYS]).unwrap_err();
    assert_eq!(error.code(), "config_missing");
    assert!(import(&[PathBuf::from("/nonexistent/drip_config.yaml")], &[KERNEL_KEYS]).is_err());
}

#[test]
fn tags_merges_and_repeated_names_lose_nothing() {
    let text = "base: &base {log_level: !Level debug}\nlogging:\n  <<: *base\nport: 1\nport: 2\n";
    let imported = import_texts(&[("drip_config.yaml", text)], &[KERNEL_KEYS]).unwrap();
    let settings = load(&imported, &[KERNEL_KEYS]);
    assert_eq!(settings.text("server.log").unwrap(), "debug");
    assert_eq!(settings.text("server.listen").unwrap(), "127.0.0.1:1");
    assert!(imported.toml.contains("# drip_config.yaml: port = \"2\""), "{}", imported.toml);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_is_imported_loads(
        name in "(drip_)?(mongo|minio|webui|fiche|log|x)?_?(host|port|url|level|user|endpoint|data_dir|modules)",
        value in "\\PC{0,12}|[0-9]{1,6}|mongodb://\\PC{0,10}",
        other in "[^\\x00]{0,16}",
    ) {
        let quoted = |text: &str| serde_json::to_string(text).unwrap();
        let text = format!("{name}: {}\n{}: {}\n", quoted(&value), quoted(&other), quoted(&value));
        let schema: &[&[Key]] = &[KERNEL_KEYS, SLICES];
        if let Ok(imported) = import_texts(&[("drip_config.yaml", &text)], schema) {
            load(&imported, schema);
        }
    }
}
