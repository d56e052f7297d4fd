//! Embeddings without a model: each word of a text counts, with a sign, in one
//! dimension that its hash chooses, and the vector is scaled to length 1. So
//! texts that share words are near to one another, which is enough to try a
//! search, and the same text has the same vector everywhere.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::hash::hash;
use crate::palisade::plugin::types::{Denial, DenialKind};
use crate::words;

/// Small, since it is read by people as often as by programs.
const DEFAULT_DIMENSIONS: usize = 64;
/// Above what any model of OpenAI's has (3072).
const MAX_DIMENSIONS: usize = 4096;
/// OpenAI's own limit for one request.
const MAX_INPUTS: usize = 2048;

#[derive(Deserialize)]
struct EmbeddingsRequest {
    #[serde(default)]
    model: Option<String>,
    input: Input,
    #[serde(default)]
    dimensions: Option<usize>,
    #[serde(default)]
    encoding_format: Option<Encoding>,
}

/// A text, several, or either as numbers of tokens.
#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    Text(String),
    Texts(Vec<String>),
    Tokens(Vec<u64>),
    TokenLists(Vec<Vec<u64>>),
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    #[default]
    Float,
    Base64,
}

#[derive(Serialize)]
struct EmbeddingsAnswer {
    object: &'static str,
    data: Vec<Embedding>,
    model: String,
    usage: Usage,
}

#[derive(Serialize)]
struct Embedding {
    object: &'static str,
    index: usize,
    embedding: Vector,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Vector {
    Float(Vec<f32>),
    /// The numbers as little-endian bytes, in base64.
    Base64(String),
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: u64,
    total_tokens: u64,
}

/// The answer to a body of `POST /v1/embeddings`.
pub fn answer(body: &[u8]) -> Result<String, Denial> {
    let request: EmbeddingsRequest = serde_json::from_slice(body)
        .map_err(|error| malformed(format!("the body is not an embeddings request: {error}")))?;
    let dimensions = request.dimensions.unwrap_or(DEFAULT_DIMENSIONS);
    if !(1..=MAX_DIMENSIONS).contains(&dimensions) {
        return Err(malformed(format!(
            "dimensions must be from 1 to {MAX_DIMENSIONS}"
        )));
    }
    let texts = request.input.into_texts();
    if texts.is_empty() || texts.len() > MAX_INPUTS {
        return Err(malformed(format!(
            "input must have from 1 to {MAX_INPUTS} texts"
        )));
    }
    let encoding = request.encoding_format.unwrap_or_default();
    let tokens = texts.iter().map(|text| words::count(text)).sum();
    let data = texts.iter().enumerate().map(|(index, text)| Embedding {
        object: "embedding",
        index,
        embedding: encode(vector(text, dimensions), encoding),
    });
    let answer = EmbeddingsAnswer {
        object: "list",
        data: data.collect(),
        model: request.model.unwrap_or_else(|| "echo".into()),
        usage: Usage {
            prompt_tokens: tokens,
            total_tokens: tokens,
        },
    };
    serde_json::to_string(&answer).map_err(|error| malformed(error.to_string()))
}

impl Input {
    fn into_texts(self) -> Vec<String> {
        let text = |tokens: &[u64]| {
            tokens
                .iter()
                .map(u64::to_string)
                .collect::<Vec<_>>()
                .join(" ")
        };
        match self {
            Input::Text(text) => vec![text],
            Input::Texts(texts) => texts,
            Input::Tokens(tokens) => vec![text(&tokens)],
            Input::TokenLists(lists) => lists.iter().map(|tokens| text(tokens)).collect(),
        }
    }
}

fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    let mut vector = vec![0.0_f32; dimensions];
    for word in text.split_whitespace() {
        let hash = hash(&word.to_lowercase());
        let sign = if hash & 1 == 0 { 1.0 } else { -1.0 };
        vector[(hash >> 1) as usize % dimensions] += sign;
    }
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length == 0.0 {
        // No words, or words that cancel out: still a vector of length 1.
        vector[0] = 1.0;
        return vector;
    }
    vector.iter().map(|value| value / length).collect()
}

fn encode(vector: Vec<f32>, encoding: Encoding) -> Vector {
    match encoding {
        Encoding::Float => Vector::Float(vector),
        Encoding::Base64 => {
            let bytes: Vec<u8> = vector
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            Vector::Base64(STANDARD.encode(bytes))
        }
    }
}

fn malformed(message: String) -> Denial {
    crate::denial(DenialKind::InvalidRequest, "request.malformed", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(body: serde_json::Value) -> serde_json::Value {
        serde_json::from_str(&answer(body.to_string().as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn every_form_of_input_is_counted() {
        let cases = [
            (serde_json::json!("one two"), 1, 2),
            (serde_json::json!(["one two", "three"]), 2, 3),
            (serde_json::json!([5, 6, 7]), 1, 3),
            (serde_json::json!([[5, 6], [7]]), 2, 3),
            (serde_json::json!(""), 1, 0),
        ];
        for (input, texts, tokens) in cases {
            let answer = ask(serde_json::json!({"input": input, "model": "m"}));
            assert_eq!(answer["data"].as_array().unwrap().len(), texts, "{input}");
            assert_eq!(answer["usage"]["total_tokens"], tokens, "{input}");
            assert_eq!(answer["data"][0]["embedding"].as_array().unwrap().len(), 64);
        }
    }

    #[test]
    fn both_encodings_hold_the_same_unit_vector() {
        let input = serde_json::json!({"input": "red green blue red", "dimensions": 8});
        let floats: Vec<f32> =
            serde_json::from_value(ask(input.clone())["data"][0]["embedding"].clone()).unwrap();
        let length: f32 = floats.iter().map(|value| value * value).sum();
        assert!((length - 1.0).abs() < 1e-6);

        let mut input = input;
        input["encoding_format"] = "base64".into();
        let answer = ask(input);
        let bytes = STANDARD
            .decode(answer["data"][0]["embedding"].as_str().unwrap())
            .unwrap();
        let decoded: Vec<f32> = bytes
            .chunks(4)
            .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
            .collect();
        assert_eq!(decoded, floats);
    }

    #[test]
    fn texts_that_share_words_are_near() {
        let dot = |left: &str, right: &str| -> f32 {
            let pairs = vector(left, 64).into_iter().zip(vector(right, 64));
            pairs.map(|(left, right)| left * right).sum()
        };
        assert!(dot("the quick brown fox", "a Quick brown FOX") > 0.7);
        assert!(dot("the quick brown fox", "invoices due in march") < 0.5);
    }

    #[test]
    fn nonsense_is_refused() {
        for body in [
            "",
            "{}",
            r#"{"input": []}"#,
            r#"{"input": {"a": 1}}"#,
            r#"{"input": "a", "dimensions": 0}"#,
            r#"{"input": "a", "dimensions": 5000}"#,
            r#"{"input": "a", "encoding_format": "int8"}"#,
        ] {
            let denial = answer(body.as_bytes()).unwrap_err();
            assert_eq!(denial.kind, DenialKind::InvalidRequest, "{body}");
        }
    }
}
