//! What a script may do with cards.

use drip::fiche::Fiche;
use drip::kernel::Result;
use drip::kernel::access::{Caller, Role};
use drip::kernel::script::{Call, Fence, ScriptContext, ScriptEngine, from_dynamic};
use serde_json::{Value, json};

use super::open;

fn run(fiche: &Fiche, role: Role, source: &str) -> Result<Value> {
    let engine = ScriptEngine::builder()
        .fence(Fence::pipeline())
        .module("fiche", drip::fiche::script::module(fiche.clone()))
        .build()?;
    let context = ScriptContext { caller: Caller::new("rita", role), run_id: None };
    let program = engine.compile(source)?;
    let call = Call::new().tagged(context.into_tag());
    from_dynamic(&engine.eval(&program, Vec::new(), &call)?)
}

#[test]
fn a_script_saves_reads_finds_and_moves_cards() {
    let fiche = open();
    let source = r#"
        let card = fiche::save(#{kind: "model", name: "风电", version: "1.0.0", summary: "turbines", data: ["scada@1"]});
        let moved = fiche::stage("model", "风电", "latest", "testing", "by a script");
        let found = fiche::search("turbine");
        let lineage = fiche::lineage("model", "风电", "1.0.0");
        [card.revision, moved.stage, found.len(), found[0].name, fiche::get("model", "风电").version, lineage.edges[0].missing]
    "#;
    let answer = run(&fiche, Role::Publisher, source).unwrap();
    assert_eq!(answer, json!([1, "testing", 1, "风电", "1.0.0", true]));
    assert_eq!(
        fiche.history(&super::key("model", "风电", "1.0.0"), 0, 9).unwrap()[1].origin.by,
        "rita"
    );
}

#[test]
fn a_script_may_do_what_its_caller_may_and_no_more() {
    let fiche = open();
    let save = r#"fiche::save(#{kind: "model", name: "a", version: "1"})"#;
    assert_eq!(run(&fiche, Role::Viewer, save).unwrap_err().code(), "not_allowed");
    assert_eq!(
        run(&fiche, Role::Consumer, r#"fiche::search("a")"#).unwrap_err().code(),
        "not_allowed"
    );
    assert_eq!(
        run(&fiche, Role::Viewer, r#"fiche::get("model", "a", "1")"#).unwrap_err().code(),
        "card_not_found"
    );
    let refused =
        run(&fiche, Role::Publisher, r#"fiche::save(#{kind: "gadget", labels: #{a: 1}})"#)
            .unwrap_err();
    let places: Vec<_> = refused.faults().iter().map(|fault| fault.pointer.as_str()).collect();
    assert_eq!(places[..4], ["/kind", "/name", "/version", "/labels/a"]);
}

#[test]
fn a_script_knows_the_kinds_of_the_settings_and_their_moves() {
    let toml = "[fiche.kinds.site]\nreferences = { turbines = [\"dataset\"] }\n\
                [fiche.stages]\nexperiment = [\"testing\"]\n";
    let fiche = super::kinds::open_with(toml);
    let source = r#"
        fiche::save(#{kind: "dataset", name: "scada", version: "1"});
        let site = fiche::save(#{kind: "site", name: "xjjx", version: "1", turbines: "scada", summary: "farm"});
        let found = fiche::search("kind:site farm");
        let lineage = fiche::lineage("site", "xjjx", "1");
        let moved = fiche::stage("site", "xjjx", "1", "testing");
        [site.turbines[0], found.len(), lineage.edges[0].to, moved.stage, fiche::get("site", "xjjx").revision]
    "#;
    let answer = run(&fiche, Role::Publisher, source).unwrap();
    assert_eq!(answer, json!(["scada", 1, "dataset:scada@1", "testing", 2]));
    let refused = |source| run(&fiche, Role::Publisher, source).unwrap_err();
    let code = |source| refused(source).code().to_owned();
    assert_eq!(code(r#"fiche::get("gadget", "a", "1")"#), "unknown_kind");
    let save = r#"fiche::save(#{kind: "site", name: "b", version: "1"});"#;
    let staged = format!(r#"{save} fiche::stage("site", "b", "1", "deployed")"#);
    assert_eq!(code(&staged), "stage_move_not_allowed");
    assert_eq!(run(&fiche, Role::Viewer, save).unwrap_err().code(), "not_allowed");
}

#[test]
fn a_scope_that_is_not_of_cards_opens_none_of_the_functions() {
    let fiche = open();
    for call in [
        r#"fiche::save(#{kind: "model", name: "a", version: "1"})"#,
        r#"fiche::stage("model", "a", "1", "testing")"#,
        r#"fiche::get("model", "a", "1")"#,
        r#"fiche::search("a")"#,
        r#"fiche::lineage("model", "a", "1")"#,
    ] {
        assert_eq!(run(&fiche, Role::Consumer, call).unwrap_err().code(), "not_allowed", "{call}");
    }
}
