//! What each model takes, as far as a request must be written differently for
//! it. Anthropic has changed these rules with almost every generation, and
//! answers 400 to a request that is written for another one.
//!
//! Sources: Anthropic's pages on thinking, effort, structured outputs, forcing
//! tool use, mid-conversation system messages, and the migration guides of
//! each model. The operator's own rules come first (`config.rs`), so that a
//! new model needs no new plugin.

/// How a model is asked to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thinking {
    /// It cannot.
    Never,
    /// `{"type": "enabled", "budget_tokens": …}`.
    Budget,
    /// `{"type": "adaptive"}`, and `output_config.effort` for how much.
    Adaptive,
}

/// How thinking is turned off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Off {
    /// By not asking for it.
    Omit,
    /// By `{"type": …}`, since the model thinks when nothing is said.
    Type(&'static str),
    /// Not at all.
    Never,
}

/// Which of `temperature`, `top_p` and `top_k` may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampling {
    All,
    /// All, but not `temperature` together with `top_p`.
    Either,
    None,
}

/// What a model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    pub thinking: Thinking,
    /// Whether an adaptive model takes a budget as well.
    pub budget: bool,
    pub off: Off,
    /// Whether there is an effort between "high" and "max".
    pub xhigh: bool,
    pub sampling: Sampling,
    /// Whether `tool_choice` may force a call.
    pub forced_tools: bool,
    /// Whether it takes `output_config.format` and `strict` tools.
    pub json_schema: bool,
    /// Whether a system message may stand within the conversation.
    pub system_messages: bool,
}

/// The newest models, and so what an unknown one is taken for.
const NEWEST: Abilities = Abilities {
    thinking: Thinking::Adaptive,
    budget: false,
    off: Off::Never,
    xhigh: true,
    sampling: Sampling::None,
    forced_tools: true,
    json_schema: true,
    system_messages: false,
};

/// The generations 3.7 to 4.0.
const EXTENDED: Abilities = Abilities {
    thinking: Thinking::Budget,
    budget: true,
    off: Off::Omit,
    xhigh: false,
    sampling: Sampling::All,
    forced_tools: true,
    json_schema: false,
    system_messages: false,
};

/// From 4.1 to 4.5.
const STRUCTURED: Abilities = Abilities {
    sampling: Sampling::Either,
    json_schema: true,
    ..EXTENDED
};

/// 5.1 and later, where thinking cannot be turned off nor tools be forced.
const UNFORCED: Abilities = Abilities {
    forced_tools: false,
    system_messages: true,
    ..NEWEST
};

/// By name, the first that matches.
const BUILT_IN: &[(&str, Abilities)] = &[
    ("claude-3-7-*", EXTENDED),
    (
        "claude-3*",
        Abilities {
            thinking: Thinking::Never,
            ..EXTENDED
        },
    ),
    (
        "claude-2*",
        Abilities {
            thinking: Thinking::Never,
            ..EXTENDED
        },
    ),
    ("claude-*-4-5*", STRUCTURED),
    ("claude-opus-4-1*", STRUCTURED),
    (
        "claude-*-4-6*",
        Abilities {
            budget: true,
            off: Off::Omit,
            xhigh: false,
            sampling: Sampling::Either,
            ..NEWEST
        },
    ),
    (
        "claude-*-4-7*",
        Abilities {
            off: Off::Omit,
            ..NEWEST
        },
    ),
    (
        "claude-*-4-8*",
        Abilities {
            off: Off::Omit,
            system_messages: true,
            ..NEWEST
        },
    ),
    ("claude-*-4", EXTENDED),
    ("claude-*-4-0*", EXTENDED),
    ("claude-*-4-2025*", EXTENDED),
    ("claude-4-*", EXTENDED),
    ("claude-opus-5-5*", UNFORCED),
    (
        "claude-sonnet-5-5*",
        Abilities {
            off: Off::Type("between_tools"),
            system_messages: false,
            ..UNFORCED
        },
    ),
    ("claude-fable-5-*", UNFORCED),
    ("claude-mythos-5-*", UNFORCED),
    (
        "claude-fable-5*",
        Abilities {
            system_messages: true,
            ..NEWEST
        },
    ),
    (
        "claude-mythos-5*",
        Abilities {
            system_messages: true,
            ..NEWEST
        },
    ),
    (
        "claude-opus-5*",
        Abilities {
            off: Off::Type("disabled"),
            system_messages: true,
            ..NEWEST
        },
    ),
    // These two accept system messages in mid-conversation, but Sonnet 5
    // ignores them and Haiku 5.5 takes one after a tool's result for a part of
    // it; Sonnet 5.5 above believes that the user wrote them.
    (
        "claude-sonnet-5*",
        Abilities {
            off: Off::Type("disabled"),
            ..NEWEST
        },
    ),
    (
        "claude-haiku-5*",
        Abilities {
            off: Off::Type("disabled"),
            ..NEWEST
        },
    ),
    ("claude-*", NEWEST),
    // Other vendors' models behind a Messages API: they implement the form
    // that has been there longest.
    ("*", EXTENDED),
];

/// What the model takes, as far as it is known.
pub fn built_in(model: &str) -> Abilities {
    let model = bare(model);
    let known = BUILT_IN
        .iter()
        .find(|(pattern, _)| matches(pattern, &model));
    known.map_or(EXTENDED, |(_, abilities)| *abilities)
}

/// The name without what vendors put around it: `us.anthropic.claude-opus-4-6`
/// and `anthropic/claude-opus-4.6` are the same model.
fn bare(model: &str) -> String {
    let name = model.rfind("claude-").map_or(model, |at| &model[at..]);
    name.replace(['.', '@'], "-").to_ascii_lowercase()
}

/// Whether the name matches the pattern, in which `*` stands for any
/// characters, also none. Each piece between two stars is placed as far left
/// as it goes and never moved again, so no name can make this slow.
pub fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut name) = name.strip_prefix(head) else {
        return false;
    };
    let (pieces, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
    for piece in pieces.split('*') {
        let Some(at) = name.find(piece) else {
            return false;
        };
        name = &name[at + piece.len()..];
    }
    name.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_stands_for_anything() {
        let cases = [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*", "a", true),
            ("*-4", "claude-opus-4", true),
            ("*-4", "claude-opus-4-1", false),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "a1c2b", false),
            ("a*a", "a", false),
            ("**b", "ab", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches(pattern, name), expected, "{pattern} on {name}");
        }
    }

    #[test]
    fn each_generation_is_known() {
        let thinks = |model: &str| (built_in(model).thinking, built_in(model).off);
        let cases = [
            ("claude-3-haiku-20240307", (Thinking::Never, Off::Omit)),
            ("claude-3-7-sonnet-latest", (Thinking::Budget, Off::Omit)),
            ("claude-sonnet-4-20250514", (Thinking::Budget, Off::Omit)),
            ("claude-haiku-4-5-20251001", (Thinking::Budget, Off::Omit)),
            ("claude-opus-4-6", (Thinking::Adaptive, Off::Omit)),
            (
                "us.anthropic.claude-opus-4-6-v1",
                (Thinking::Adaptive, Off::Omit),
            ),
            ("anthropic/claude-opus-4.8", (Thinking::Adaptive, Off::Omit)),
            ("claude-opus-5", (Thinking::Adaptive, Off::Type("disabled"))),
            ("claude-opus-5-5", (Thinking::Adaptive, Off::Never)),
            (
                "claude-sonnet-5-5",
                (Thinking::Adaptive, Off::Type("between_tools")),
            ),
            (
                "claude-haiku-5-5",
                (Thinking::Adaptive, Off::Type("disabled")),
            ),
            ("claude-fable-5-2", (Thinking::Adaptive, Off::Never)),
            ("claude-opus-9", (Thinking::Adaptive, Off::Never)),
            ("glm-5.2", (Thinking::Budget, Off::Omit)),
        ];
        for (model, expected) in cases {
            assert_eq!(thinks(model), expected, "{model}");
        }
        assert!(!built_in("claude-opus-5-5").forced_tools);
        assert!(built_in("claude-opus-5").forced_tools);
        assert!(!built_in("claude-sonnet-4-0").json_schema);
        assert!(built_in("claude-opus-4-1-20250805").json_schema);
    }
}
