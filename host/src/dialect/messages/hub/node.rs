//! A value in a request body that knows where it stands, so that an error can
//! say so.

use serde_json::{Map, Value};

use crate::dialect::InvalidRequest;
use crate::dialect::texts::push_escaped;

/// A value and the way to it.
#[derive(Debug, Clone, Copy)]
pub struct Node<'a> {
    pub value: &'a Value,
    parent: Option<&'a Node<'a>>,
    step: Step<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

impl<'a> Node<'a> {
    pub fn root(value: &'a Value) -> Self {
        Self {
            value,
            parent: None,
            step: Step::Key(""),
        }
    }

    /// A member; none if it is absent or null, which mean the same here.
    pub fn get(&'a self, key: &'a str) -> Option<Self> {
        let value = self.value.get(key).filter(|value| !value.is_null())?;
        Some(Self {
            value,
            parent: Some(self),
            step: Step::Key(key),
        })
    }

    /// A member that must be there.
    pub fn require(&'a self, key: &'a str) -> Result<Self, InvalidRequest> {
        self.get(key)
            .ok_or_else(|| self.invalid(&format!("\"{key}\" is required")))
    }

    /// All members but those that are null.
    pub fn members(&'a self) -> Result<impl Iterator<Item = (&'a str, Self)>, InvalidRequest> {
        let present = self.object()?.iter().filter(|(_, value)| !value.is_null());
        Ok(present.map(|(key, value)| {
            let step = Step::Key(key);
            (
                key.as_str(),
                Self {
                    value,
                    parent: Some(self),
                    step,
                },
            )
        }))
    }

    /// The elements of an array.
    pub fn elements(&'a self) -> Result<impl Iterator<Item = Self>, InvalidRequest> {
        let array = self
            .value
            .as_array()
            .ok_or_else(|| self.invalid("an array is expected"))?;
        Ok(array.iter().enumerate().map(|(index, value)| Self {
            value,
            parent: Some(self),
            step: Step::Index(index),
        }))
    }

    pub fn object(&self) -> Result<&'a Map<String, Value>, InvalidRequest> {
        self.value
            .as_object()
            .ok_or_else(|| self.invalid("an object is expected"))
    }

    pub fn string(&self) -> Result<&'a str, InvalidRequest> {
        self.value
            .as_str()
            .ok_or_else(|| self.invalid("a string is expected"))
    }

    /// A member that must be a string.
    pub fn string_at(&'a self, key: &'a str) -> Result<&'a str, InvalidRequest> {
        self.require(key)?.string()
    }

    /// The value of a member `type`, by which objects of this dialect tell
    /// what they are.
    pub fn kind(&'a self) -> Result<&'a str, InvalidRequest> {
        self.object()?;
        self.string_at("type")
    }

    pub fn invalid(&self, message: &str) -> InvalidRequest {
        InvalidRequest {
            pointer: self.pointer(),
            message: message.to_owned(),
        }
    }

    /// The RFC 6901 pointer to it.
    pub fn pointer(&self) -> String {
        let Some(parent) = self.parent else {
            return String::new();
        };
        let mut pointer = parent.pointer();
        pointer.push('/');
        match self.step {
            Step::Key(key) => push_escaped(&mut pointer, key),
            Step::Index(index) => pointer.push_str(&index.to_string()),
        }
        pointer
    }
}
