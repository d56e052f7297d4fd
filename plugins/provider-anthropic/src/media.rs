//! Images and documents: the hub's `image_url` and `file` parts as Anthropic's
//! `image` and `document` blocks.
//!
//! Anthropic takes JPEG, PNG, GIF and WebP images, PDF and plain text
//! documents, by URL, in base64, or by the identifier of an uploaded file.
//! What it does not take is refused, because an answer that ignores a part of
//! the question looks like any other.

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value, json};

use crate::hub::Report;
use crate::refusal::Refusal;

/// Without it, older API versions do not know the source `file`.
const FILES_BETA: &str = "files-api-2025-04-14";

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The block for `{"type": "image_url", "image_url": {"url": …, "detail": …}}`.
pub fn image(at: &str, part: &Map<String, Value>, report: &mut Report) -> Result<Value, Refusal> {
    let image = part.get("image_url");
    let url = match image {
        Some(Value::String(url)) => Some(url.as_str()),
        other => other
            .and_then(|image| image.get("url"))
            .and_then(Value::as_str),
    };
    let at = format!("{at}/image_url");
    let Some(url) = url else {
        return Err(Refusal::malformed(&at, "expected an object with a `url`"));
    };
    let detail = image.and_then(|image| image.get("detail"));
    if detail.is_some_and(|detail| !detail.is_null() && detail != "auto") {
        report.drop(format!("{at}/detail"));
    }
    if let Some(data) = DataUrl::parse(url) {
        return inline(&at, data, None);
    }
    if is_web(url) {
        return Ok(json!({"type": "image", "source": {"type": "url", "url": url}}));
    }
    Err(Refusal::unsupported(
        &format!("{at}/url"),
        "expected an https or a data URL",
    ))
}

/// The block for `{"type": "file", "file": {"file_data" | "file_id", "filename"}}`.
pub fn file(at: &str, part: &Map<String, Value>, report: &mut Report) -> Result<Value, Refusal> {
    let at = format!("{at}/file");
    let text = |name| {
        part.get("file")
            .and_then(|file| file.get(name))
            .and_then(Value::as_str)
    };
    let name = text("filename").filter(|name| !name.trim().is_empty());
    if let Some(data) = text("file_data") {
        if let Some(data) = DataUrl::parse(data) {
            return inline(&at, data, name);
        }
        if is_web(data) {
            return Ok(document(json!({"type": "url", "url": data}), name));
        }
        return inline(
            &at,
            DataUrl {
                media_type: guess(&at, name)?,
                data,
            },
            name,
        );
    }
    if let Some(id) = text("file_id") {
        report.need(FILES_BETA);
        return Ok(document(json!({"type": "file", "file_id": id}), name));
    }
    Err(Refusal::malformed(&at, "expected `file_data` or `file_id`"))
}

/// The block for data that the request itself holds.
fn inline(at: &str, data: DataUrl<'_>, name: Option<&str>) -> Result<Value, Refusal> {
    let media_type = data.media_type.as_str();
    // Line breaks are common in base64 that a program wrapped.
    let base64 = data
        .data
        .replace(|character: char| character.is_ascii_whitespace(), "");
    match media_type {
        "image/jpeg" | "image/png" | "image/gif" | "image/webp" => {
            Ok(block("image", encoded(media_type, base64)))
        }
        "image/jpg" | "image/pjpeg" => Ok(block("image", encoded("image/jpeg", base64))),
        "application/pdf" => Ok(document(encoded(media_type, base64), name)),
        _ if is_text(media_type) => {
            let bytes = BASE64.decode(base64.as_bytes()).ok();
            let Some(text) = bytes.and_then(|bytes| String::from_utf8(bytes).ok()) else {
                return Err(Refusal::malformed(at, "expected UTF-8 text in base64"));
            };
            let mut source = json!({"type": "text", "media_type": "text/plain"});
            source["data"] = text.into();
            Ok(document(source, name))
        }
        _ => Err(Refusal::unsupported(
            at,
            &format!("anthropic takes no {media_type:?}"),
        )),
    }
}

/// Data in base64. Moved in, as below: it may be megabytes, and the macro copies
/// what it is given.
fn encoded(media_type: &str, base64: String) -> Value {
    let mut source = json!({"type": "base64", "media_type": media_type});
    source["data"] = base64.into();
    source
}

fn block(kind: &str, source: Value) -> Value {
    let mut block = json!({"type": kind});
    block["source"] = source;
    block
}

fn document(source: Value, name: Option<&str>) -> Value {
    let mut block = block("document", source);
    if let Some(name) = name {
        block["title"] = name.into();
    }
    block
}

fn is_text(media_type: &str) -> bool {
    let text = ["application/json", "application/xml", "application/yaml"];
    media_type.starts_with("text/") || text.contains(&media_type)
}

fn is_web(url: &str) -> bool {
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http")
}

/// What a file without a media type is, by the end of its name.
fn guess(at: &str, name: Option<&str>) -> Result<String, Refusal> {
    let extension = name
        .and_then(|name| name.rsplit_once('.'))
        .map_or("", |(_, end)| end);
    let media_type = match extension.to_ascii_lowercase().as_str() {
        "pdf" => "application/pdf",
        "txt" | "md" | "csv" | "html" | "json" | "xml" | "yaml" => "text/plain",
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "gif" => "image/gif",
        "webp" => "image/webp",
        _ => {
            let at = format!("{at}/file_data");
            return Err(Refusal::malformed(
                &at,
                "expected a data URL, which names the media type",
            ));
        }
    };
    Ok(media_type.to_owned())
}

/// `data:[<media type>][;<parameter>]*;base64,<data>` (RFC 2397).
struct DataUrl<'u> {
    /// In lower case, without parameters.
    media_type: String,
    data: &'u str,
}

impl<'u> DataUrl<'u> {
    /// None if it is no such URL, or not in base64.
    fn parse(url: &'u str) -> Option<Self> {
        let scheme = url.get(..5)?;
        let (head, data) = url.get(5..)?.split_once(',')?;
        let (parameters, encoding) = head.rsplit_once(';')?;
        if !scheme.eq_ignore_ascii_case("data:") || !encoding.trim().eq_ignore_ascii_case("base64")
        {
            return None;
        }
        let media_type = parameters.split(';').next().unwrap_or_default().trim();
        Some(Self {
            media_type: media_type.to_ascii_lowercase(),
            data,
        })
    }
}
