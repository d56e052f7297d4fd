//! Reading TOML table by table, with the line of everything and all problems
//! collected. A `Fields` remembers which keys were asked for, so that a key
//! which nobody asked for is reported, with the nearest one that exists.

use std::cell::RefCell;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Problem, Step};

/// Where problems are collected, with the text that their lines are counted in.
pub struct Source<'t> {
    text: &'t str,
    problems: RefCell<Vec<Problem>>,
}

impl<'t> Source<'t> {
    pub fn new(text: &'t str) -> Self {
        Self {
            text,
            problems: RefCell::default(),
        }
    }

    pub fn line(&self, span: &Range<usize>) -> usize {
        let before = &self.text.as_bytes()[..span.start.min(self.text.len())];
        before.iter().filter(|b| **b == b'\n').count() + 1
    }

    pub fn problem(&self, line: Option<usize>, message: String, hint: Option<String>) {
        self.problems.borrow_mut().push(Problem {
            line,
            step: Step::Check,
            message,
            hint,
        });
    }

    pub fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }
}

/// A value with the line that it stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At<T> {
    pub value: T,
    pub line: usize,
}

/// A table that is being read.
pub struct Fields<'s, 't> {
    source: &'s Source<'t>,
    table: &'s DeTable<'t>,
    /// What the table is called in messages: `plugins.pii`.
    pub name: String,
    pub line: usize,
    asked: RefCell<Vec<&'static str>>,
}

impl<'s, 't> Fields<'s, 't> {
    pub fn new(source: &'s Source<'t>, name: String, table: &'s Spanned<DeTable<'t>>) -> Self {
        let line = source.line(&table.span());
        Self {
            source,
            table: table.get_ref(),
            name,
            line,
            asked: RefCell::default(),
        }
    }

    pub fn problem(&self, line: usize, message: String, hint: Option<&str>) {
        self.source
            .problem(Some(line), message, hint.map(str::to_owned));
    }

    fn get(&self, key: &'static str) -> Option<&'s Spanned<DeValue<'t>>> {
        self.asked.borrow_mut().push(key);
        self.table
            .iter()
            .find(|(k, _)| k.get_ref() == key)
            .map(|(_, value)| value)
    }

    /// Whether a key is there, whatever its value.
    pub fn has(&self, key: &str) -> bool {
        self.table.iter().any(|(k, _)| k.get_ref() == key)
    }

    /// The line of a key, or of the table if the key is absent.
    pub fn line_of(&self, key: &str) -> usize {
        let found = self.table.iter().find(|(k, _)| k.get_ref() == key);
        found.map_or(self.line, |(k, _)| self.source.line(&k.span()))
    }

    fn wrong(&self, key: &str, value: &Spanned<DeValue>, wanted: &str) {
        let line = self.source.line(&value.span());
        let found = value.get_ref().type_str();
        self.problem(
            line,
            format!("`{key}` in [{}] is {found}, not {wanted}", self.name),
            None,
        );
    }

    /// Reads a key by `read`, which answers none for a value that is wrong.
    fn read<T>(
        &self,
        key: &'static str,
        wanted: &str,
        read: impl FnOnce(&'s DeValue<'t>) -> Option<T>,
    ) -> Option<At<T>> {
        let value = self.get(key)?;
        let result = read(value.get_ref());
        if result.is_none() {
            self.wrong(key, value, wanted);
        }
        Some(At {
            value: result?,
            line: self.source.line(&value.span()),
        })
    }

    pub fn string(&self, key: &'static str) -> Option<At<String>> {
        self.read(key, "a string", |v| v.as_str().map(str::to_owned))
    }

    /// A string that must be there.
    pub fn required(&self, key: &'static str) -> Option<At<String>> {
        if !self.has(key) {
            self.asked.borrow_mut().push(key);
            self.problem(self.line, format!("[{}] has no `{key}`", self.name), None);
            return None;
        }
        self.string(key)
    }

    /// A whole number of at least 1.
    pub fn count(&self, key: &'static str) -> Option<u32> {
        self.read(key, "a whole number from 1 to 4294967295", |v| {
            integer(v)
                .and_then(|n| u32::try_from(n).ok())
                .filter(|n| *n > 0)
        })
        .map(|at| at.value)
    }

    /// A number of bytes: "32MiB", "64 KiB", or a whole number.
    pub fn size(&self, key: &'static str) -> Option<At<usize>> {
        self.read(
            key,
            "a size such as \"32MiB\" or a number of bytes",
            |v| match v.as_str() {
                Some(text) => size(text),
                None => integer(v).and_then(|n| usize::try_from(n).ok()),
            },
        )
    }

    /// A time: "50ms", "30s", "10m", "1h".
    pub fn duration(&self, key: &'static str) -> Option<Duration> {
        self.read(key, "a time such as \"50ms\", \"30s\" or \"10m\"", |v| {
            v.as_str().and_then(duration)
        })
        .map(|at| at.value)
    }

    /// A time, or "off" for none.
    pub fn duration_or_off(&self, key: &'static str) -> Option<Duration> {
        let read = |v: &DeValue| match v.as_str()? {
            "off" => Some(None),
            text => duration(text).map(Some),
        };
        let at = self.read(key, "a time such as \"60s\", or \"off\"", read);
        at.and_then(|at| at.value)
    }

    /// Whether something is so, with its line.
    pub fn flag(&self, key: &'static str) -> Option<At<bool>> {
        self.read(key, "true or false", DeValue::as_bool)
    }

    /// A string or a list of strings.
    pub fn strings(&self, key: &'static str) -> Vec<At<String>> {
        let Some(value) = self.get(key) else {
            return Vec::new();
        };
        let line = self.source.line(&value.span());
        if let Some(text) = value.get_ref().as_str() {
            return vec![At {
                value: text.to_owned(),
                line,
            }];
        }
        let Some(array) = value.get_ref().as_array() else {
            self.wrong(key, value, "a string or a list of strings");
            return Vec::new();
        };
        let strings = array
            .iter()
            .filter_map(|item| match item.get_ref().as_str() {
                Some(text) => Some(At {
                    value: text.to_owned(),
                    line: self.source.line(&item.span()),
                }),
                None => {
                    self.wrong(key, item, "a string");
                    None
                }
            });
        strings.collect()
    }

    /// Whether a key is there and holds a table.
    pub fn holds_table(&self, key: &str) -> bool {
        let mut entries = self.table.iter();
        entries.any(|(k, v)| k.get_ref() == key && v.get_ref().is_table())
    }

    /// Whether a key is there and holds this word.
    pub fn string_is(&self, key: &'static str, word: &str) -> bool {
        let mut entries = self.table.iter();
        let is = entries.any(|(k, v)| k.get_ref() == key && v.get_ref().as_str() == Some(word));
        if is {
            self.asked.borrow_mut().push(key);
        }
        is
    }

    /// A table within this one.
    pub fn table(&self, key: &'static str) -> Option<Fields<'s, 't>> {
        let value = self.get(key)?;
        self.below(key, value)
    }

    fn below(&self, key: &str, value: &'s Spanned<DeValue<'t>>) -> Option<Fields<'s, 't>> {
        let name = if self.name.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.name)
        };
        match value.get_ref() {
            DeValue::Table(table) => Some(Fields {
                source: self.source,
                table,
                name,
                line: self.source.line(&value.span()),
                asked: RefCell::default(),
            }),
            _ => {
                self.wrong(key, value, "a table");
                None
            }
        }
    }

    /// The tables of a list of tables (`[[key]]`).
    pub fn tables(&self, key: &'static str) -> Vec<Fields<'s, 't>> {
        let Some(value) = self.get(key) else {
            return Vec::new();
        };
        let Some(array) = value.get_ref().as_array() else {
            self.wrong(key, value, "a list of tables");
            return Vec::new();
        };
        array
            .iter()
            .filter_map(|item| self.below(key, item))
            .collect()
    }

    /// Every entry of a table of tables, by name (`[key.name]`).
    pub fn named(&self, key: &'static str) -> Vec<(String, Fields<'s, 't>)> {
        let Some(fields) = self.table(key) else {
            return Vec::new();
        };
        let entries = fields.table.iter().filter_map(|(name, value)| {
            let name = name.get_ref().to_string();
            Some((name.clone(), fields.below(&name, value)?))
        });
        entries.collect()
    }

    /// Every entry of a table of strings.
    pub fn pairs(&self, key: &'static str) -> Vec<(String, At<String>)> {
        let Some(fields) = self.table(key) else {
            return Vec::new();
        };
        let entries =
            fields
                .table
                .iter()
                .filter_map(|(name, value)| match value.get_ref().as_str() {
                    Some(text) => {
                        let line = self.source.line(&value.span());
                        Some((
                            name.get_ref().to_string(),
                            At {
                                value: text.to_owned(),
                                line,
                            },
                        ))
                    }
                    None => {
                        fields.wrong(name.get_ref(), value, "a string");
                        None
                    }
                });
        entries.collect()
    }

    /// A value of any shape as JSON, with the line of each pointer into it.
    pub fn json(&self, key: &'static str) -> Option<(serde_json::Value, Vec<(String, usize)>)> {
        let value = self.get(key)?;
        let mut lines = Vec::new();
        let json = self.to_json(value, String::new(), &mut lines);
        Some((json, lines))
    }

    fn to_json(
        &self,
        value: &Spanned<DeValue>,
        at: String,
        lines: &mut Vec<(String, usize)>,
    ) -> serde_json::Value {
        lines.push((at.clone(), self.source.line(&value.span())));
        match value.get_ref() {
            DeValue::Table(table) => {
                let member = |(key, value): (&Spanned<_>, &Spanned<DeValue>)| {
                    let key: &std::borrow::Cow<str> = key.get_ref();
                    let step = key.replace('~', "~0").replace('/', "~1");
                    (
                        key.to_string(),
                        self.to_json(value, format!("{at}/{step}"), lines),
                    )
                };
                serde_json::Value::Object(table.iter().map(member).collect())
            }
            DeValue::Array(array) => {
                let element = |(i, value)| self.to_json(value, format!("{at}/{i}"), lines);
                serde_json::Value::Array(array.iter().enumerate().map(element).collect())
            }
            DeValue::String(text) => text.as_ref().into(),
            DeValue::Boolean(is) => (*is).into(),
            DeValue::Integer(_) => integer(value.get_ref()).into(),
            DeValue::Float(float) => float.as_str().replace('_', "").parse::<f64>().ok().into(),
            DeValue::Datetime(time) => time.to_string().into(),
        }
    }

    /// Reports every key that was not asked for.
    pub fn done(self) {
        let asked = self.asked.borrow();
        for (key, _) in self
            .table
            .iter()
            .filter(|(k, _)| !asked.contains(&k.get_ref().as_ref()))
        {
            let table = if self.name.is_empty() {
                "the manifest"
            } else {
                &format!("[{}]", self.name)
            };
            let message = format!("unknown key `{}` in {table}", key.get_ref());
            let near = nearest(key.get_ref(), asked.iter().copied());
            let hint = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known keys: {}", asked.join(", ")),
            };
            self.problem(self.source.line(&key.span()), message, Some(&hint));
        }
    }
}

/// The word that is least different, if one is near.
pub fn nearest<'w>(wrong: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    words
        .map(|word| (strsim::damerau_levenshtein(wrong, word), word))
        .filter(|(distance, word)| *distance <= word.len().max(wrong.len()).div_ceil(3))
        .min()
        .map(|(_, word)| word)
}

fn integer(value: &DeValue) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(&integer.as_str().replace('_', ""), integer.radix()).ok()
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    Some((text[..digits].parse().ok()?, text[digits..].trim()))
}

fn size(text: &str) -> Option<usize> {
    let (number, unit) = number_and_unit(text)?;
    let shift = match unit {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return None,
    };
    usize::try_from(number.checked_mul(1 << shift)?).ok()
}

fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_have_units() {
        assert_eq!(size("32MiB"), Some(32 << 20));
        assert_eq!(size("64 KiB"), Some(64 << 10));
        assert_eq!(size("7"), Some(7));
        assert_eq!(size("7MB"), None);
        assert_eq!(duration("50ms"), Some(Duration::from_millis(50)));
        assert_eq!(duration("2m"), Some(Duration::from_secs(120)));
        assert_eq!(duration("5"), None);
        assert_eq!(duration("-5s"), None);
    }

    #[test]
    fn a_misspelt_key_finds_its_neighbour() {
        assert_eq!(
            nearest("lsiten", ["listen", "log"].into_iter()),
            Some("listen")
        );
        assert_eq!(
            nearest("completely-else", ["listen", "log"].into_iter()),
            None
        );
    }
}
