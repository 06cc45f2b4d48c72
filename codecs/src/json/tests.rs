//! The examples of RFC 7396, and what holds for any patch.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn merged(base: &Value, patch: &Value) -> Value {
    let mut base = base.as_object().unwrap().clone();
    merge(&mut base, patch.as_object().unwrap());
    Value::Object(base)
}

#[test]
fn merges_as_rfc_7396_has_it() {
    // Appendix A, the rows whose both sides are objects.
    for (base, patch, result) in [
        (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
        (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
        (json!({"a":"b"}), json!({"a":null}), json!({})),
        (
            json!({"a":"b","b":"c"}),
            json!({"a":null}),
            json!({"b":"c"}),
        ),
        (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
        (json!({"a":"c"}), json!({"a":["b"]}), json!({"a":["b"]})),
        (
            json!({"a":{"b":"c"}}),
            json!({"a":{"b":"d","c":null}}),
            json!({"a":{"b":"d"}}),
        ),
        (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
        (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
        (
            json!({}),
            json!({"a":{"bb":{"ccc":null}}}),
            json!({"a":{"bb":{}}}),
        ),
    ] {
        assert_eq!(merged(&base, &patch), result);
    }
}

fn tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(Value::Null), any::<i8>().prop_map(Value::from)];
    let tree = leaf.prop_recursive(4, 24, 4, |inner| {
        proptest::collection::btree_map("[a-c]", inner, 0..4)
            .prop_map(|map| Value::Object(map.into_iter().collect()))
    });
    proptest::collection::btree_map("[a-c]", tree, 0..4)
        .prop_map(|map| Value::Object(map.into_iter().collect()))
}

/// Every leaf of a tree with the way to it.
fn leaves(value: &Value, way: &str, found: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                leaves(value, &format!("{way}/{key}"), found);
            }
        }
        leaf => found.push((way.to_owned(), leaf.clone())),
    }
}

proptest! {
    #[test]
    fn a_patch_wins_everywhere_and_twice_is_once(base in tree(), patch in tree()) {
        let result = merged(&base, &patch);
        prop_assert_eq!(&merged(&result, &patch), &result);
        let mut found = Vec::new();
        leaves(&patch, "", &mut found);
        for (way, leaf) in found {
            let there = result.pointer(&way);
            prop_assert_eq!(there, Some(&leaf).filter(|leaf| !leaf.is_null()), "{}", way);
        }
        let mut found = Vec::new();
        leaves(&result, "", &mut found);
        for (way, leaf) in found {
            let of = [base.pointer(&way), patch.pointer(&way)];
            prop_assert!(of.contains(&Some(&leaf)), "invented: {}", way);
        }
    }
}
