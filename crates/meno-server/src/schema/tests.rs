//! Schemas as programs generate them.

use super::*;

#[track_caller]
fn same(schema: Value, expected: Value) {
    assert_eq!(prepare(&schema).unwrap_or_else(|e| panic!("{e}")), expected);
}

#[test]
fn keywords_without_effect_are_removed() {
    same(
        json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "$comment": "x", "type": "object",
               "title": "T", "deprecated": true, "required": null, "propertyNames": {"type": "string"},
               "properties": {"a": {"type": "integer", "format": "int32", "description": null, "minLength": 2.0}}}),
        json!({"type": "object", "properties": {"a": {"type": "integer", "minLength": 2}}}),
    );
    same(
        json!({"type": "array", "uniqueItems": true, "items": {"enum": [1, 2]}}),
        json!({"type": "array", "items": {"enum": [1, 2]}, "maxItems": 2}),
    );
    same(json!({"type": "string", "format": "uuid"}), json!({"type": "string", "format": "uuid"}));
    same(json!(true), json!({}));
    same(json!({"contains": true, "not": false, "then": {"type": "string"}}), json!({}));
}

#[test]
fn unsupported_keywords_are_rewritten() {
    same(
        json!({"not": {"type": "null"}}),
        json!({"allOf": [{"type": ["boolean", "number", "string", "array", "object"]}]}),
    );
    same(json!({"enum": ["a", "b"], "not": {"const": "a"}}), json!({"enum": ["a", "b"], "allOf": [{"enum": ["b"]}]}));
    same(
        json!({"type": "object", "not": {"required": ["x"]}}),
        json!({"type": "object", "allOf": [{"properties": {"x": false}}]}),
    );
    same(json!({"type": "string", "not": {"enum": [1, null]}}), json!({"type": "string", "allOf": [{}]}));
    same(
        json!({"type": "object", "propertyNames": {"pattern": "^x"}, "additionalProperties": {"type": "number"}}),
        json!({"type": "object", "patternProperties": {"^x": {"type": "number"}}, "additionalProperties": false}),
    );
    same(
        json!({"propertyNames": {"enum": ["a", "b"]}, "properties": {"a": {"type": "null"}}}),
        json!({"properties": {"a": {"type": "null"}, "b": true}, "additionalProperties": false}),
    );
    same(
        json!({"dependentRequired": {"a": ["b"]}}),
        json!({"allOf": [{"anyOf": [{"properties": {"a": false}}, {"required": ["b"]}]}]}),
    );
    same(json!({"type": "string", "nullable": true}), json!({"anyOf": [{"type": "string"}, {"type": "null"}]}));
    same(
        json!({"type": "object", "unevaluatedProperties": false}),
        json!({"type": "object", "additionalProperties": false}),
    );
}

#[test]
fn references_get_simple_names() {
    same(
        json!({"$defs": {"a/b c": {"$anchor": "node", "properties": {"next": {"$ref": "#node"}}}, "bad": {"type": 7}},
               "$id": "https://x.example/s", "items": {"$ref": "https://x.example/s#/$defs/a~1b%20c"}}),
        json!({"items": {"$ref": "#/$defs/a1bc_0"},
               "$defs": {"a1bc_0": {"properties": {"next": {"$ref": "#/$defs/a1bc_0"}}}}}),
    );
    same(
        json!({"properties": {"child": {"$ref": "#"}}}),
        json!({"properties": {"child": {"$ref": "#/$defs/root_0"}},
                "$defs": {"root_0": {"properties": {"child": {"$ref": "#/$defs/root_0"}}}}}),
    );
}

#[test]
fn errors_have_a_pointer() {
    for (schema, pointer, words) in [
        (json!({"properties": {"a/b": {"type": "strange"}}}), "/properties/a~1b/type", "\"strange\" is not a type"),
        (json!({"items": {"anyOf": [{}, 5]}}), "/items/anyOf/1", "an object or a boolean, not a number"),
        (json!({"properties": {"a": {"type": "string", "required": true}}}), "/properties/a/required", "a boolean"),
        (json!({"properties": []}), "/properties", "an object of schemas"),
        (json!({"enum": []}), "/enum", "empty"),
        (json!({"$ref": "#/$defs/no"}), "/$ref", "does not exist"),
        (json!({"$ref": "https://x.example/other"}), "/$ref", "other schemas are not fetched"),
        (json!({"type": "string", "not": {"pattern": "x"}}), "/not", "cannot enforce"),
        (json!({"if": {"type": "string"}, "then": {"minLength": 1}}), "/if", "anyOf"),
        (json!({"contains": {"type": "string"}}), "/contains", "cannot enforce"),
        (json!({"maxItems": -1}), "/maxItems", "whole number"),
        (json!({"multipleOf": "x"}), "/multipleOf", "a number"),
        (json!({"multipleOf": 0}), "/multipleOf", "above 0"),
        (
            json!({"properties": {"a": {"properties": {"b": {"type": "integer", "minimum": 5, "maximum": 3}}}}}),
            "/properties/a/properties/b/minimum",
            "minimum 5 is above maximum 3",
        ),
        (json!({"minLength": 2, "maxLength": 1}), "/minLength", "no value fits"),
        (json!({"items": {"pattern": "(?=a)b"}}), "/items/pattern", "look-around"),
        (json!({"patternProperties": {"((": {}}}), "/patternProperties/((", "unclosed group"),
        (json!(false), "", "false"),
        (json!([1]), "", "not a list"),
    ] {
        let error = prepare(&schema).unwrap_err();
        assert_eq!(error.pointer, pointer, "{schema}: {error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    let deep = (0..150).fold(json!({}), |inner, _| json!({ "items": inner }));
    assert!(prepare(&deep).unwrap_err().message.contains("nested"));
}
