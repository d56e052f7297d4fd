//! The host's side of `wit/0.1.0/message.wit`: what a plugin's handles do.
//!
//! Each edit works on the clone of the message that the call was given
//! (`plugin::call`); nothing here reaches an exchange unless the call returns
//! `ok`.

use std::borrow::Cow;

use wasmtime::component::Resource;

use super::state::{ExchangeView, State};
use crate::bindings::palisade::plugin::message::{
    Finding, Host, HostExchange, HostRequest, HostResponse, Text,
};
use crate::bindings::palisade::plugin::types::Header;
use crate::dialect;
use crate::json::{EditError, Json, MAX_WORD};
use crate::message::{Request, ResponseHead};

/// The most words that are looked for at a time: each takes a pass over all
/// texts.
const MAX_WORDS: usize = 64;

type Fallible<T> = wasmtime::Result<T>;
type Edit = wasmtime::Result<Result<(), String>>;

impl State {
    fn request(&self, handle: &Resource<Request>) -> Fallible<&Request> {
        Ok(self.table.get(handle)?)
    }

    /// Makes an edit, if the call may make another.
    fn edit(
        &mut self,
        handle: &Resource<Request>,
        change: impl FnOnce(&mut Request) -> Result<(), String>,
    ) -> Edit {
        let most = self.terms.limits.edits;
        if self.edits >= most {
            return Ok(Err(format!("a call makes at most {most} edits")));
        }
        self.edits += 1;
        Ok(change(self.table.get_mut(handle)?))
    }

    fn edit_json(
        &mut self,
        handle: &Resource<Request>,
        change: impl FnOnce(&Json) -> Result<Json, EditError>,
    ) -> Edit {
        self.edit(handle, |request| {
            request.body = change(&request.body).map_err(|e| e.to_string())?;
            Ok(())
        })
    }
}

impl Host for State {}

impl HostExchange for State {
    fn id(&mut self, _: Resource<ExchangeView>) -> Fallible<String> {
        Ok(self.exchange()?.facts.id.clone())
    }

    fn route(&mut self, _: Resource<ExchangeView>) -> Fallible<String> {
        Ok(self.exchange()?.facts.route.clone())
    }

    fn principal(&mut self, _: Resource<ExchangeView>) -> Fallible<Option<String>> {
        Ok(self.exchange()?.facts.principal.clone())
    }

    fn dialect(&mut self, _: Resource<ExchangeView>) -> Fallible<Option<String>> {
        Ok(self.exchange()?.facts.dialect.map(|d| d.name().to_owned()))
    }

    fn streaming(&mut self, _: Resource<ExchangeView>) -> Fallible<bool> {
        Ok(self.exchange()?.facts.streaming)
    }

    fn requested_model(&mut self, _: Resource<ExchangeView>) -> Fallible<Option<String>> {
        Ok(self.exchange()?.facts.requested_model.clone())
    }

    fn note(&mut self, _: Resource<ExchangeView>, key: String) -> Fallible<Option<String>> {
        Ok(self.exchange()?.notes.get(&key).map(str::to_owned))
    }

    fn set_note(&mut self, _: Resource<ExchangeView>, key: String, value: String) -> Edit {
        Ok(self.exchange()?.notes.set(key, value))
    }

    fn drop(&mut self, handle: Resource<ExchangeView>) -> Fallible<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

impl HostRequest for State {
    fn exchange(&mut self, _: Resource<Request>) -> Fallible<Resource<ExchangeView>> {
        Ok(self.push(ExchangeView)?)
    }

    fn method(&mut self, handle: Resource<Request>) -> Fallible<String> {
        Ok(self.request(&handle)?.target.method.to_string())
    }

    fn path(&mut self, handle: Resource<Request>) -> Fallible<String> {
        Ok(self.request(&handle)?.target.path.clone())
    }

    fn query(&mut self, handle: Resource<Request>) -> Fallible<Option<String>> {
        Ok(self.request(&handle)?.target.query.clone())
    }

    fn header(&mut self, handle: Resource<Request>, name: String) -> Fallible<Vec<Vec<u8>>> {
        Ok(values(&self.request(&handle)?.headers, &name))
    }

    fn headers(&mut self, handle: Resource<Request>) -> Fallible<Vec<Header>> {
        let headers = &self.request(&handle)?.headers;
        Ok(headers
            .iter()
            .map(|(n, v)| (n.to_string(), v.as_bytes().to_vec()))
            .collect())
    }

    fn dialect(&mut self, handle: Resource<Request>) -> Fallible<Option<String>> {
        Ok(self.request(&handle)?.dialect.map(|d| d.name().to_owned()))
    }

    fn model(&mut self, handle: Resource<Request>) -> Fallible<Option<String>> {
        Ok(self.request(&handle)?.model())
    }

    fn max_output_tokens(&mut self, handle: Resource<Request>) -> Fallible<Option<u64>> {
        let request = self.request(&handle)?;
        let Some((dialect, body)) = request.settings() else {
            return Ok(None);
        };
        Ok(dialect.max_output_tokens(body))
    }

    fn choices(&mut self, handle: Resource<Request>) -> Fallible<u32> {
        let request = self.request(&handle)?;
        let Some((dialect, body)) = request.settings() else {
            return Ok(1);
        };
        Ok(dialect.choices(body))
    }

    fn texts(&mut self, handle: Resource<Request>) -> Fallible<Vec<Text>> {
        let shown = |text: &dialect::Text| Text {
            role: text.role.to_string(),
            pointer: text.pointer.clone(),
            content: text.content().into_owned(),
        };
        Ok(self.request(&handle)?.texts().iter().map(shown).collect())
    }

    fn content(&mut self, handle: Resource<Request>) -> Fallible<String> {
        Ok(self.request(&handle)?.contents().joined())
    }

    fn find_words(
        &mut self,
        handle: Resource<Request>,
        words: Vec<String>,
    ) -> Fallible<Result<Finding, String>> {
        if words.len() > MAX_WORDS || words.iter().any(|word| word.len() > MAX_WORD) {
            let rule = format!("at most {MAX_WORDS} words of {MAX_WORD} bytes are looked for");
            return Ok(Err(rule));
        }
        let contents = self.request(&handle)?.contents();
        let found = contents.find_words(&words);
        let places = (0..).zip(found).filter(|(_, found)| *found);
        Ok(Ok(Finding {
            words: places.map(|(place, _)| place).collect(),
            plain_ascii: contents.are_plain_ascii(),
        }))
    }

    fn get(&mut self, handle: Resource<Request>, pointer: String) -> Fallible<Option<String>> {
        Ok(self
            .request(&handle)?
            .body
            .get(&pointer)
            .map(Cow::into_owned))
    }

    fn body(&mut self, handle: Resource<Request>) -> Fallible<Vec<u8>> {
        Ok(self.request(&handle)?.body.bytes().to_vec())
    }

    fn set_model(&mut self, handle: Resource<Request>, model: String) -> Edit {
        self.edit_json(&handle, |body| body.set("/model", &quoted(&model)))
    }

    fn set_max_output_tokens(&mut self, handle: Resource<Request>, tokens: u64) -> Edit {
        self.edit(&handle, |request| {
            let Some((dialect, body)) = request.settings() else {
                return Err("the body is in no dialect that the host knows".to_owned());
            };
            let mut edited = request.body.clone();
            for name in dialect.max_output_tokens_members(body) {
                edited = edited
                    .set(&format!("/{name}"), &tokens.to_string())
                    .map_err(|e| e.to_string())?;
            }
            request.body = edited;
            Ok(())
        })
    }

    fn set(&mut self, handle: Resource<Request>, pointer: String, json: String) -> Edit {
        self.edit_json(&handle, |body| body.set(&pointer, &json))
    }

    fn remove(&mut self, handle: Resource<Request>, pointer: String) -> Edit {
        self.edit_json(&handle, |body| body.remove(&pointer))
    }

    fn set_body(&mut self, handle: Resource<Request>, body: Vec<u8>) -> Edit {
        let limit = self.terms.limits.output;
        self.edit(&handle, |request| {
            if body.len() > limit {
                return Err(format!("a body has at most {limit} bytes"));
            }
            request.set_body(body.into());
            Ok(())
        })
    }

    fn set_header(&mut self, handle: Resource<Request>, name: String, value: Vec<u8>) -> Edit {
        self.edit(&handle, |request| request.set_header(&name, value))
    }

    fn remove_header(&mut self, handle: Resource<Request>, name: String) -> Edit {
        self.edit(&handle, |request| request.remove_header(&name))
    }

    fn report_dropped(&mut self, handle: Resource<Request>, pointer: String) -> Edit {
        self.edit(&handle, |request| request.report_dropped(pointer))
    }

    fn drop(&mut self, handle: Resource<Request>) -> Fallible<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

impl HostResponse for State {
    fn exchange(&mut self, _: Resource<ResponseHead>) -> Fallible<Resource<ExchangeView>> {
        Ok(self.push(ExchangeView)?)
    }

    fn status(&mut self, handle: Resource<ResponseHead>) -> Fallible<u16> {
        Ok(self.table.get(&handle)?.status.as_u16())
    }

    fn header(&mut self, handle: Resource<ResponseHead>, name: String) -> Fallible<Vec<Vec<u8>>> {
        Ok(values(&self.table.get(&handle)?.headers, &name))
    }

    fn headers(&mut self, handle: Resource<ResponseHead>) -> Fallible<Vec<Header>> {
        let headers = &self.table.get(&handle)?.headers;
        Ok(headers
            .iter()
            .map(|(n, v)| (n.to_string(), v.as_bytes().to_vec()))
            .collect())
    }

    fn streamed(&mut self, handle: Resource<ResponseHead>) -> Fallible<bool> {
        Ok(self.table.get(&handle)?.streamed)
    }

    fn drop(&mut self, handle: Resource<ResponseHead>) -> Fallible<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

fn values(headers: &http::HeaderMap, name: &str) -> Vec<Vec<u8>> {
    headers
        .get_all(name.to_ascii_lowercase())
        .iter()
        .map(|v| v.as_bytes().to_vec())
        .collect()
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
