//! What a script may do with cask.

use drip::kernel::access::{Caller, Role};
use drip::kernel::script::{Call, Fence, ScriptContext, ScriptEngine};
use drip::kernel::{Kind, Result};
use serde_json::{Value, json};

use super::Store;

fn run(store: &Store, role: Role, source: &str) -> Result<Value> {
    let module = drip::cask::script::module(store.cask.clone());
    let engine = ScriptEngine::builder().fence(Fence::pipeline()).module("cask", module).build()?;
    let program = engine.compile(source)?;
    let context = ScriptContext { caller: Caller::new("ada", role), run_id: None };
    let call = Call::new().tagged(context.into_tag());
    let answer = engine.eval(&program, Vec::new(), &call)?;
    drip::kernel::script::from_dynamic(&answer)
}

#[test]
fn a_script_puts_gets_and_lists() {
    let store = Store::new();
    let source = r#"
        cask::put("models", "a/text", "风");
        cask::put("models", "a/json", #{ rmse: 1.5 });
        let blob = blob(3, 7);
        cask::put("models", "b", blob);
        let keys = [];
        for item in cask::list("models", "a/") { keys.push(item.key); }
        #{
            text: cask::get("models", "a/text"), json: cask::get("models", "a/json"),
            blob: cask::get("models", "b").len(), keys: keys,
            there: cask::exists("models", "b"), gone: cask::exists("models", "c"),
        }
    "#;
    let answer = run(&store, Role::Publisher, source).unwrap();
    let wanted = json!({
        "text": "风", "json": "{\"rmse\":1.5}", "blob": 3, "keys": ["a/json", "a/text"],
        "there": true, "gone": false,
    });
    for (field, value) in wanted.as_object().unwrap() {
        assert_eq!(&answer[field], value, "{field}");
    }
    let kept = store.cask.get("models", "a/json").unwrap();
    assert_eq!(kept.info.content_type, "application/json");
}

#[test]
fn a_script_may_do_what_its_caller_may_and_no_more() {
    let store = Store::new();
    let put = r#"cask::put("models", "a", "x")"#;
    assert_eq!(run(&store, Role::Viewer, put).unwrap_err().kind(), Kind::Denied);
    run(&store, Role::Publisher, put).unwrap();
    assert_eq!(run(&store, Role::Viewer, r#"cask::get("models", "a")"#).unwrap(), json!("x"));
    let missing = run(&store, Role::Viewer, r#"cask::get("models", "none")"#).unwrap_err();
    assert_eq!(missing.code(), "object_not_found");
    let bad = run(&store, Role::Publisher, r#"cask::put("models", "../a", "x")"#).unwrap_err();
    assert_eq!(bad.code(), "bad_key");
}

#[test]
fn a_script_pushes_and_pulls_packages() {
    let store = Store::new();
    store.put("models", "wind.caskpkg", super::parcel("wind", "1.0.0"));
    let source = r#"
        let bytes = cask::get("models", "wind.caskpkg");
        let pushed = cask::push("wind", "1.0.0", bytes);
        let pulled = cask::pull("wind", "latest");
        #{ name: pushed.name, same: pulled == bytes }
    "#;
    let answer = run(&store, Role::Publisher, source).unwrap();
    assert_eq!(answer, json!({"name": "wind", "same": true}));
    let other = r#"cask::push("wind", "2.0.0", cask::get("models", "wind.caskpkg"))"#;
    let refused = run(&store, Role::Publisher, other).unwrap_err();
    assert_eq!(refused.code(), "metadata_disagrees");
    assert_eq!(run(&store, Role::Viewer, source).unwrap_err().kind(), Kind::Denied);
}
