//! The paths of Drip 0.1, on the daemon's own listener for them, called as its clients did.

use std::net::{TcpListener, TcpStream};

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, Home};
use crate::support::http::{Answer, Http};

/// The kinds of 0.1, and their fields beside name, version, summary, config and remark.
const KINDS: [(&str, &[&str]); 5] = [
    ("algorithm", &["homepage", "author", "authoremail", "license", "requires", "requiredby"]),
    ("model", &["requires", "data", "algorithm"]),
    ("parameter", &["datatype", "requiredby"]),
    ("application", &["requires", "project"]),
    ("dataset", &["requiredby", "datatype", "project"]),
];

struct Old {
    home: Home,
    daemon: Daemon,
    token: String,
}

impl Old {
    /// A daemon with the old paths, and these settings beside.
    fn with(settings: &str) -> Self {
        let home = Home::with_admin();
        let text = format!("[compat]\nenabled = true\nfiche = \"127.0.0.1:0\"\n{settings}");
        std::fs::write(home.path().join("drip.toml"), text).unwrap();
        let daemon = home.serve();
        let token = daemon.make_admin_token();
        Self { home, daemon, token }
    }

    fn old(&self) -> Http {
        self.daemon.old().expect("the old paths are somewhere")
    }

    fn new_paths(&self) -> Http {
        self.daemon.http().with_token(&self.token)
    }

    fn call(&self, path: &str, pairs: &[(&str, &str)]) -> Answer {
        self.old().get(&url(path, pairs)).unwrap()
    }

    /// What 0.1 was told of a card.
    fn query(&self, kind: &str, name: &str) -> Value {
        let (of_name, of_version) = (format!("{kind}_name"), format!("{kind}_version"));
        let pairs = [(of_name.as_str(), name), (&of_version, "1.0.0")];
        let path = format!("/info_manager/query_{kind}_info");
        self.call(&path, &pairs).expect(200).json()["data"].clone()
    }
}

fn url(path: &str, pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<_> =
        pairs.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    format!("{path}?{}", pairs.join("&"))
}

fn encoded(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() {
            text.push(char::from(byte));
        } else {
            write!(text, "%{byte:02X}").unwrap();
        }
        text
    })
}

/// Every field of a kind with a text of its own; references with a comma in them.
fn texts(kind: &str, fields: &[&str]) -> Vec<(String, String)> {
    let mut texts: Vec<(String, String)> = ["name", "version", "summary", "config", "remark"]
        .iter()
        .chain(fields)
        .map(|field| ((*field).to_owned(), format!("{field} 风电 of {kind}")))
        .collect();
    texts[0].1 = "功率_v1".to_owned();
    texts[1].1 = "1.0.0".to_owned();
    for (field, text) in &mut texts {
        match field.as_str() {
            "requires" => "numpy>=1.20, 功率曲线@2".clone_into(text),
            "requiredby" => "model:m@1,application:a".clone_into(text),
            "data" => "scada,nwp@2".clone_into(text),
            "algorithm" => "power-curve@1.0.0".clone_into(text),
            _ => {}
        }
    }
    texts
}

fn pairs(texts: &[(String, String)]) -> Vec<(&str, &str)> {
    texts.iter().map(|(field, text)| (field.as_str(), text.as_str())).collect()
}

#[test]
fn what_0_1_saves_is_a_card_and_what_it_reads_is_what_it_saved() {
    let old = Old::with("");
    for (kind, fields) in KINDS {
        let mut texts = texts(kind, fields);
        let save = format!("/info_manager/save_{kind}_info");
        let said = old.call(&save, &pairs(&texts)).expect(200).json();
        assert_eq!(said, json!({"info": format!("Save {kind} info well done!")}));
        // Saving again counts, and the newest is read.
        texts[2].1 = format!("new summary of {kind}");
        old.call(&save, &pairs(&texts)).expect(200);
        let mut read = old.query(kind, "功率_v1");
        let time = read.as_object_mut().unwrap().remove("time").unwrap();
        let is_naive =
            chrono::NaiveDateTime::parse_from_str(time.as_str().unwrap(), "%Y-%m-%dT%H:%M:%S%.f");
        assert!(is_naive.is_ok(), "{time}");
        let sent: serde_json::Map<String, Value> =
            texts.iter().map(|(field, text)| (field.clone(), text.as_str().into())).collect();
        assert_eq!(read, Value::Object(sent), "{kind}");
        let history = old
            .new_paths()
            .get(&format!("/api/v1/cards/{kind}/{}/1.0.0/history", encoded("功率_v1")))
            .unwrap()
            .expect(200)
            .json();
        let revisions = history["items"].as_array().unwrap();
        assert_eq!(revisions.len(), 2, "{kind}");
        assert_eq!(revisions[1]["change"]["by"], "compat");
    }
    let model = format!("/api/v1/cards/model/{}/1.0.0", encoded("功率_v1"));
    let card = old.new_paths().get(&model).unwrap().expect(200).json();
    assert_eq!(card["requires"], json!(["numpy>=1.20", "功率曲线@2"]));
    assert_eq!((&card["data"], &card["stage"]), (&json!(["scada", "nwp@2"]), &json!("experiment")));
    let lineage = old.new_paths().get(&format!("{model}/lineage?direction=up")).unwrap();
    let edges = lineage.expect(200).json()["edges"].as_array().unwrap().len();
    assert_eq!(edges, 5);
    let audit = old.new_paths().get("/api/v1/audit?limit=5").unwrap().expect(200).json();
    let lines = audit["items"].as_array().unwrap();
    assert!(lines.iter().any(|line| line["who"] == "compat" && line["action"] == "card.saved"));
    assert!(found(&old, "summary").contains(&"功率_v1".to_owned()));
}

/// The names of what a search finds, once the index has caught up.
fn found(old: &Old, word: &str) -> Vec<String> {
    for _ in 0..600 {
        let answer = old.new_paths().get(&format!("/api/v1/cards?q={word}")).unwrap();
        let found = answer.expect(200).json();
        if found["total"] != 0 {
            let items = found["items"].as_array().unwrap();
            let name = |hit: &Value| hit["card"]["name"].as_str().unwrap().to_owned();
            return items.iter().map(name).collect();
        }
        crate::support::pause(std::time::Duration::from_millis(50));
    }
    Vec::new()
}

#[test]
fn a_card_of_today_is_shown_as_0_1_had_it_and_keeps_what_0_1_does_not_know() {
    let old = Old::with("");
    let card = json!({
        "summary": "s", "config": {"depth": 3}, "labels": {"site": "XJJX"}, "own": [1],
        "requires": ["algorithm:a@1", "b"],
    });
    let path = "/api/v1/cards/model/wind/1.0.0";
    old.new_paths().put(path, &card).unwrap().expect(201);
    old.new_paths().put("/api/v1/cards/model/bare/1.0.0", &json!({})).unwrap().expect(201);
    let mut read = old.query("model", "wind");
    assert!(read.as_object_mut().unwrap().remove("time").is_some());
    let shown = json!({
        "name": "wind", "version": "1.0.0", "summary": "s", "config": "{\"depth\":3}",
        "remark": "", "requires": "algorithm:a@1,b", "data": "", "algorithm": "",
    });
    assert_eq!(read, shown);
    assert_eq!(old.query("model", "bare")["config"], "");
    // The same again changes nothing; another summary changes just that.
    let stage = json!({"stage": "deployed"});
    old.new_paths().post(&format!("{path}/stage"), &stage).unwrap().expect(200);
    let mut texts: Vec<(String, String)> = shown
        .as_object()
        .unwrap()
        .iter()
        .map(|(field, text)| (field.clone(), text.as_str().unwrap().to_owned()))
        .collect();
    old.call("/info_manager/save_model_info", &pairs(&texts)).expect(200);
    let same = old.new_paths().get(path).unwrap().expect(200).json();
    assert_eq!((&same["revision"], &same["config"]), (&json!(2), &json!({"depth": 3})));
    texts[2].1 = "new".to_owned();
    old.call("/info_manager/save_model_info", &pairs(&texts)).expect(200);
    let changed = old.new_paths().get(path).unwrap().expect(200).json();
    assert_eq!((&changed["revision"], &changed["summary"]), (&json!(3), &json!("new")));
    for field in ["labels", "own", "config", "requires"] {
        assert_eq!(changed[field], card[field], "{field}");
    }
    assert_eq!(changed["stage"], "deployed");
}

#[test]
fn observers_are_noted_read_and_forgotten_across_restarts() {
    let Old { home, daemon, token } = Old::with("");
    let of = [("observer_name", "中心 hq"), ("observer_version", "1.0")];
    let call = |daemon: &Daemon, verb: &str| {
        daemon.old().unwrap().get(&url(&format!("/observer/{verb}_observer"), &of)).unwrap()
    };
    call(&daemon, "query").expect(404);
    let said = call(&daemon, "add").expect(200).json();
    assert_eq!(said, json!({"info": "Add observer well done!"}));
    call(&daemon, "add").expect(200);
    daemon.kill();
    let daemon = home.serve();
    let mut read = call(&daemon, "query").expect(200).json();
    assert!(read["data"].as_object_mut().unwrap().remove("time").is_some_and(|time| time != ""));
    let shown = json!({"data": {
        "name": "中心 hq", "version": "1.0", "summary": "default summary",
        "config": "default config", "remark": "default remark",
    }});
    assert_eq!(read, shown);
    let said = call(&daemon, "remove").expect(200).json();
    assert_eq!(said, json!({"info": "Remove observer well done!"}));
    for verb in ["query", "remove"] {
        assert_eq!(call(&daemon, verb).expect(404).json(), json!({"detail": "Not Found"}));
    }
    let http = daemon.http().with_token(&token);
    let audit = http.get("/api/v1/audit").unwrap().expect(200).json().to_string();
    assert!(audit.contains("compat.observer.removed"), "{audit}");
    let ended = daemon.stop();
    assert!(ended.status.success(), "{}", ended.log);
}

#[test]
fn what_is_wrong_is_told_in_the_old_shape() {
    let old = Old::with("");
    let missing = |name: &str| json!({"loc": ["query", name], "msg": "field required", "type": "value_error.missing"});
    for (kind, fields) in KINDS {
        let save = format!("/info_manager/save_{kind}_info");
        let refused = old.old().get(&save).unwrap().expect(422);
        assert_eq!(refused.header("content-type"), Some("application/json"));
        let names = ["name", "version", "summary", "config", "remark"];
        let all: Vec<Value> = names.iter().chain(fields).map(|name| missing(name)).collect();
        assert_eq!(refused.json(), json!({ "detail": all }));
        let query = format!("/info_manager/query_{kind}_info");
        let name = format!("{kind}_name");
        let version = format!("{kind}_version");
        let refused = old.call(&query, &[(&version, "1")]).expect(422).json();
        assert_eq!(refused, json!({"detail": [missing(&name)]}));
        let gone = old.call(&query, &[(&name, "none"), (&version, "1")]).expect(404).json();
        assert_eq!(gone, json!({"detail": "Not Found"}));
        // A name that cannot be held.
        let mut wrong = texts(kind, fields);
        wrong[0].1 = "a/b".to_owned();
        wrong[1].1 = String::new();
        let refused = old.call(&save, &pairs(&wrong)).expect(422).json();
        let places: Vec<_> = refused["detail"]
            .as_array()
            .unwrap()
            .iter()
            .map(|fault| (fault["loc"][1].as_str().unwrap(), fault["msg"].as_str().unwrap()))
            .collect();
        assert_eq!(places, [("name", "contains `/`"), ("version", "is empty")]);
    }
    let refused = old.old().get("/observer/add_observer?observer_name=x").unwrap().expect(422);
    assert_eq!(refused.json(), json!({"detail": [missing("observer_version")]}));
    let latest = [("name", "x"), ("version", "latest"), ("summary", ""), ("config", "")];
    let latest =
        [&latest[..], &[("remark", ""), ("requires", ""), ("data", ""), ("algorithm", "")]]
            .concat();
    let refused = old.call("/info_manager/save_model_info", &latest).expect(422).json();
    assert_eq!(refused["detail"][0]["loc"], json!(["query", "version"]));
    for path in ["/", "/info_manager/save_run_info", "/api/v1/cards", "/healthz"] {
        let gone = old.old().get(path).unwrap().expect(404);
        assert_eq!(gone.json(), json!({"detail": "Not Found"}), "{path}");
        assert!(gone.header("x-request-id").is_some());
    }
    let post = old.old().post("/observer/add_observer", &json!({})).unwrap().expect(405);
    assert_eq!(post.json(), json!({"detail": "Method Not Allowed"}));
    let cards = old.new_paths().get("/api/v1/cards/model").unwrap().expect(200).json();
    assert_eq!(cards["items"], json!([]));
}

#[test]
fn callers_from_elsewhere_and_pages_of_other_sites_are_kept_out() {
    let old = Old::with("role = \"viewer\"\nfrom = [\"127.0.0.0/8\"]\n");
    let (kind, fields) = KINDS[1];
    let texts = texts(kind, fields);
    let save = url("/info_manager/save_model_info", &pairs(&texts));
    let denied = old.old().get(&save).unwrap().expect(403).json();
    assert!(denied["detail"].as_str().unwrap().contains("publisher"), "{denied}");
    old.old()
        .get("/observer/query_observer?observer_name=x&observer_version=1")
        .unwrap()
        .expect(404);

    let http = old.old();
    let address = http.address();
    for (header, status) in [
        ("sec-fetch-site: cross-site".to_owned(), 403),
        ("origin: http://evil.example".to_owned(), 403),
        ("referer: http://evil.example/page".to_owned(), 403),
        ("sec-fetch-site: none".to_owned(), 404),
        (format!("referer: http://{address}/"), 404),
    ] {
        let path = "/observer/query_observer?observer_name=x&observer_version=1";
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {address}\r\n{header}\r\nconnection: close\r\n\r\n"
        );
        let answer = http.raw(request.as_bytes()).unwrap().expect(status);
        assert!(answer.json()["detail"].is_string(), "{header}");
    }
    let renamed = "GET / HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
    http.raw(renamed.as_bytes()).unwrap().expect(403);

    let elsewhere = Old::with("from = [\"10.0.0.0/8\", \"fd00::/8\"]\n");
    let denied = elsewhere.old().get(&save).unwrap().expect(403).json();
    let said = denied["detail"].as_str().unwrap();
    assert!(said.contains("127.0.0.1") && said.contains("compat.from"), "{said}");
    elsewhere.old().get("/nothing").unwrap().expect(403);
}

#[test]
fn text_that_a_client_did_not_encode_is_read() {
    let old = Old::with("");
    let http = old.old();
    let path = "/observer/add_observer?observer_name=风电&observer_version=1";
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", http.address());
    http.raw(request.as_bytes()).unwrap().expect(200);
    let of = [("observer_name", "风电"), ("observer_version", "1")];
    old.call("/observer/query_observer", &of).expect(200);
}

#[test]
fn nothing_listens_unless_it_is_asked_for_and_nothing_is_opened_by_mistake() {
    let home = Home::with_admin();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    let write = |compat: &str| {
        let text = format!("[compat]\nfiche = \"{address}\"\n{compat}");
        std::fs::write(home.path().join("drip.toml"), text).unwrap();
    };
    let serve = ["serve", "--data", "data", "--listen", "127.0.0.1:0"];
    write("enabled = true\n");
    let refused = home.run(&serve);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains(&address) && said.contains("compat.fiche"), "{said}");
    drop(free);
    write("");
    let daemon = home.serve();
    assert!(daemon.old().is_none());
    assert!(TcpStream::connect(&address).is_err());
    daemon.stop();
    for (compat, word) in [
        ("[compat]\nenabled = true\nfiche = \"0.0.0.0:0\"\n", "compat.from"),
        ("[compat]\nfrom = [\"10.0.0.0/40\", \"here\"]\n", "here"),
        ("[compat]\nrole = \"admin\"\n", "role"),
    ] {
        std::fs::write(home.path().join("drip.toml"), compat).unwrap();
        let refused = home.run(&serve);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(78), "{compat}: {said}");
        assert!(said.contains(word), "{said}");
    }
}
