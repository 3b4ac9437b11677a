#![cfg(test)]
//! The API's description: complete in itself, and true of what the routes answer.

use serde_json::{Value, json};

use super::{Ask, PASSWORD, Rig};

/// Every value under a key, however deep.
fn all<'a>(key: &str, value: &'a Value, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get(key));
            fields.values().for_each(|value| all(key, value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| all(key, value, found)),
        _ => {}
    }
}

async fn description(rig: &Rig) -> Value {
    Ask::new("GET", "/openapi.json").of(rig).await.expect(200).value()
}

#[tokio::test]
async fn every_reference_in_the_description_leads_somewhere() {
    let rig = Rig::new();
    let description = description(&rig).await;
    let mut references = Vec::new();
    all("$ref", &description, &mut references);
    assert!(references.len() > 20, "{references:?}");
    let dangling: Vec<_> = references
        .into_iter()
        .filter_map(Value::as_str)
        .filter(|to| to.strip_prefix('#').is_none_or(|at| description.pointer(at).is_none()))
        .collect();
    assert!(dangling.is_empty(), "{dangling:?}");
}

#[tokio::test]
async fn every_call_says_what_it_answers() {
    let rig = Rig::new();
    let description = description(&rig).await;
    let mut seen = std::collections::BTreeSet::new();
    for (path, methods) in description["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let responses = operation["responses"].as_object().unwrap();
            let good: Vec<u16> = responses.keys().filter_map(|key| key.parse().ok()).collect();
            let what = format!("{method} {path} answers {good:?}");
            assert!(good.iter().any(|status| (200..300).contains(status)), "{what}");
            assert!(responses.contains_key("default"), "{what}");
            match method.as_str() {
                "delete" => assert_eq!(good, [204], "{what}"),
                "put" => assert!(good.contains(&200) || good.contains(&204), "{what}"),
                _ => {}
            }
            // `204` has no content, and everything else says which.
            for (status, response) in responses {
                assert_eq!(status != "204", response["content"].is_object(), "{what}");
            }
            let summary = operation["summary"].as_str().unwrap();
            assert!(summary.starts_with(char::is_uppercase), "{what}: {summary}");
            assert!(seen.insert(operation["operationId"].as_str()), "{what}: its id is another's");
        }
    }
}

#[tokio::test]
async fn what_may_be_left_out_or_be_anything_is_described_so() {
    let rig = Rig::new();
    let description = description(&rig).await;
    let body = |path: &str, method: &str| {
        let at = format!("/paths/{}/{method}", path.replace('/', "~1"));
        let operation = description.pointer(&at).unwrap();
        operation["requestBody"]["content"]["application/json"]["schema"].clone()
    };
    #[cfg(feature = "dashare")]
    assert_eq!(body("/api/v1/sql", "post")["required"], json!(["query"]));
    #[cfg(feature = "liquid")]
    assert!(body("/api/v1/schedules/{name}", "put")["properties"]["overlap"]["type"].is_null());
    assert_eq!(body("/api/v1/login", "post")["required"], json!(["username", "password"]));
}

#[tokio::test]
async fn a_body_that_does_not_fit_is_told_every_fault_in_words_of_json() {
    let rig = Rig::new();
    let admin = rig.login("admin").await;
    let put = |body: Value| Ask::new("PUT", "/api/v1/users/arr").bearer(&admin).json(&body);
    for list in [json!([]), json!(["arr", PASSWORD, "admin"])] {
        let answer = put(list).of(&rig).await.refused(422, "bad_body");
        let faults = json!([{"pointer": "", "detail": "is a list, not an object"}]);
        assert_eq!(answer.value()["errors"], faults);
    }
    let many = json!({"role": 5, "password": [], "pasword": "x", "colour": "red"});
    let answer = put(many).of(&rig).await.refused(422, "bad_body").value();
    let mut places: Vec<_> = answer["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| fault["pointer"].as_str().unwrap())
        .collect();
    places.sort_unstable();
    assert_eq!(places, ["/colour", "/password", "/pasword", "/role"]);
    assert!(!answer.to_string().contains("struct"), "{answer}");
    rig.login("admin").await;
}

#[cfg(feature = "trajectory")]
#[tokio::test]
async fn a_name_that_is_none_is_told_as_everywhere() {
    let rig = Rig::new();
    let admin = rig.login("admin").await;
    for path in ["/api/v1/streams/..", "/api/v1/users/.."] {
        let answer = Ask::new("PUT", path).bearer(&admin).json(&json!({})).of(&rig).await;
        let problem = answer.refused(422, "bad_name").value();
        assert!(!problem.to_string().contains("\\n"), "{problem}");
    }
}

#[cfg(feature = "web")]
#[tokio::test]
async fn the_page_of_the_api_shows_what_a_body_holds_in_both_languages() {
    let rig = Rig::new();
    let page = async |language: &str| {
        let answer = Ask::new("GET", &format!("/docs?lang={language}")).of(&rig).await.expect(200);
        String::from_utf8(answer.body).unwrap()
    };
    let english = page("en").await;
    let login = english.split("<details").find(|call| call.contains("/api/v1/login<")).unwrap();
    for part in ["<code>username</code>", "text, <b>required</b>", "Needs: nothing"] {
        assert!(login.contains(part), "{login}");
    }
    let example = login.split("<textarea").nth(1).unwrap();
    assert!(example.contains("password"), "{example}");
    let chinese = page("zh").await;
    for part in ["请求体", "必填", "文本", "所需权限: 角色 admin，以及令牌范围 access:write"]
    {
        assert!(chinese.contains(part), "{part}");
    }
    assert!(!chinese.contains(" and the scope "));
}
