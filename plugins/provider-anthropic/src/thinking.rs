//! How long the model may think, and the limit of tokens that this counts
//! towards.
//!
//! * `thinking` (Anthropic's own object) is sent as it is. Only a budget for a
//!   model that refuses budgets becomes adaptive thinking (llm.js#30).
//! * `reasoning_effort` becomes a budget, or adaptive thinking with an effort.
//!   It is a hint, so it gives way, and is reported, where the request could
//!   not be answered otherwise: if a tool is forced, or if the model goes on
//!   with a turn whose thinking the client did not bring back.
//! * Anthropic demands a limit, and thinking counts towards it. Without one
//!   the answer gets the configured default, and thinking its share on top.
//!   With one, a budget takes at most half of it. Only a limit that leaves no
//!   room for the smallest budget is raised.

use serde_json::{Map, Value, json};

use crate::config::{Budgets, Config, MIN_BUDGET};
use crate::hub::Hub;
use crate::models::{Abilities, Off, Thinking};
use crate::refusal::Refusal;
use crate::tools::Tools;

/// What is sent.
#[derive(Debug)]
pub struct Plan {
    pub thinking: Option<Value>,
    /// `output_config.effort`.
    pub effort: Option<&'static str>,
    pub max_tokens: u64,
}

impl Plan {
    /// Whether the model is asked to think.
    pub fn thinks(&self) -> bool {
        let kind = self.thinking.as_ref().map(|thinking| &thinking["type"]);
        kind.is_some_and(|kind| kind == "enabled" || kind == "adaptive")
    }
}

/// OpenAI's levels, and Anthropic's highest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    Xhigh,
    Max,
}

/// Takes what the client says about thinking and about the limit.
///
/// `interrupted` says that the model goes on with a turn of its own that does
/// not begin with thinking.
pub fn plan(
    hub: &mut Hub,
    tools: &mut Tools,
    interrupted: bool,
    model: &Abilities,
    config: &Config,
) -> Result<Plan, Refusal> {
    let limit = hub.take_count("max_completion_tokens")?;
    let limit = limit.or(hub.take_count("max_tokens")?);
    let effort = take_effort(hub)?;
    let planner = Planner {
        hub,
        model,
        config,
        limit,
    };
    match planner.hub.take("thinking") {
        Some(Value::Object(thinking)) => Ok(planner.explicit(thinking, effort, tools, interrupted)),
        Some(_) => Err(Refusal::malformed("/thinking", "expected an object")),
        None => match effort {
            Some(effort) => Ok(planner.by_effort(effort, interrupted || tools.forced())),
            None => Ok(planner.unasked()),
        },
    }
}

struct Planner<'p> {
    hub: &'p mut Hub,
    model: &'p Abilities,
    config: &'p Config,
    limit: Option<u64>,
}

impl Planner<'_> {
    /// The client's own `thinking`.
    fn explicit(
        self,
        mut thinking: Map<String, Value>,
        effort: Option<Effort>,
        tools: &mut Tools,
        interrupted: bool,
    ) -> Plan {
        let mut effort = effort.and_then(|effort| self.effort_beside(effort));
        let mut budget = thinking
            .get("budget_tokens")
            .and_then(Value::as_u64)
            .unwrap_or(0);
        if thinking.get("type").is_some_and(|kind| kind == "enabled") {
            if self.model.thinking == Thinking::Adaptive && !self.model.budget {
                thinking.insert("type".to_owned(), "adaptive".into());
                thinking.shift_remove("budget_tokens");
                self.hub.report.drop("/thinking/budget_tokens");
                effort = effort.or(Some(self.config.budgets.effort_of(budget)));
            } else if interrupted {
                self.hub.report.drop("/thinking");
                return Plan {
                    effort,
                    ..self.unasked()
                };
            } else {
                tools.relax(&mut self.hub.report);
            }
        } else if budget == 0 && thinking.get("type").is_some_and(|kind| kind == "adaptive") {
            budget = self.config.budgets.high;
        }
        let max_tokens = self
            .limit
            .unwrap_or(self.config.default_max_tokens.saturating_add(budget));
        Plan {
            thinking: Some(thinking.into()),
            effort,
            max_tokens,
        }
    }

    /// An effort beside an explicit `thinking`: it counts where the model takes
    /// both, and is no loss elsewhere, since the budget says more.
    fn effort_beside(&self, effort: Effort) -> Option<&'static str> {
        let adaptive = self.model.thinking == Thinking::Adaptive;
        adaptive.then(|| self.name(effort)).flatten()
    }

    /// `blocked` says that a budget would be refused.
    fn by_effort(self, effort: Effort, blocked: bool) -> Plan {
        match (self.model.thinking, effort) {
            (Thinking::Never | Thinking::Budget, Effort::None) => self.unasked(),
            (Thinking::Never, _) => {
                self.hub.report.drop("/reasoning_effort");
                self.unasked()
            }
            (Thinking::Budget, _) if blocked => {
                self.hub.report.drop("/reasoning_effort");
                self.unasked()
            }
            (Thinking::Budget, _) => {
                let wanted = self.config.budgets.of(effort);
                let (budget, max_tokens) = self.share(wanted);
                let thinking = json!({"type": "enabled", "budget_tokens": budget});
                Plan {
                    thinking: Some(thinking),
                    effort: None,
                    max_tokens,
                }
            }
            (Thinking::Adaptive, Effort::None) => self.off(),
            (Thinking::Adaptive, _) => {
                let room = self.config.budgets.of(effort);
                // Newer models leave the text of their thinking out unless
                // they are asked for it.
                let thinking = json!({"type": "adaptive", "display": "summarized"});
                Plan {
                    effort: self.name(effort),
                    thinking: Some(thinking),
                    max_tokens: self.limit.unwrap_or(self.config.default_max_tokens + room),
                }
            }
        }
    }

    /// The client wants no thinking.
    fn off(self) -> Plan {
        let limit = self.limit.unwrap_or(self.config.default_max_tokens);
        let plan = |thinking| Plan {
            thinking,
            effort: None,
            max_tokens: limit,
        };
        match self.model.off {
            Off::Omit => plan(None),
            Off::Type(name) => plan(Some(json!({"type": name}))),
            Off::Never => {
                self.hub.report.drop("/reasoning_effort");
                Plan {
                    effort: Some("low"),
                    ..self.unasked()
                }
            }
        }
    }

    /// Nothing is said, and the model does what it does by default.
    fn unasked(self) -> Plan {
        let thinks = self.model.thinking == Thinking::Adaptive && self.model.off != Off::Omit;
        let room = if thinks { self.config.budgets.high } else { 0 };
        let max_tokens = self.limit.unwrap_or(self.config.default_max_tokens + room);
        Plan {
            thinking: None,
            effort: None,
            max_tokens,
        }
    }

    /// A budget and the limit that it fits in.
    fn share(&self, wanted: u64) -> (u64, u64) {
        match self.limit {
            None => (wanted, wanted + self.config.default_max_tokens),
            Some(limit) if limit > MIN_BUDGET => (wanted.min(MIN_BUDGET.max(limit / 2)), limit),
            Some(limit) => (MIN_BUDGET, MIN_BUDGET + limit),
        }
    }

    /// Anthropic's name for the effort; none for no effort at all.
    fn name(&self, effort: Effort) -> Option<&'static str> {
        match effort {
            Effort::None => None,
            Effort::Minimal | Effort::Low => Some("low"),
            Effort::Medium => Some("medium"),
            Effort::High => Some("high"),
            Effort::Xhigh if self.model.xhigh => Some("xhigh"),
            // "high" is what these models do anyway.
            Effort::Xhigh | Effort::Max => Some("max"),
        }
    }
}

impl Budgets {
    fn of(&self, effort: Effort) -> u64 {
        match effort {
            Effort::None => 0,
            Effort::Minimal => self.minimal,
            Effort::Low => self.low,
            Effort::Medium => self.medium,
            Effort::High => self.high,
            Effort::Xhigh | Effort::Max => self.xhigh,
        }
    }

    /// The effort whose budget is nearest from above.
    fn effort_of(&self, budget: u64) -> &'static str {
        match budget {
            _ if budget <= self.low => "low",
            _ if budget <= self.medium => "medium",
            _ => "high",
        }
    }
}

fn take_effort(hub: &mut Hub) -> Result<Option<Effort>, Refusal> {
    let effort = hub
        .take_text("reasoning_effort")?
        .filter(|effort| !effort.is_empty());
    let Some(effort) = effort else {
        return Ok(None);
    };
    let known = match effort.as_str() {
        "none" => Effort::None,
        "minimal" => Effort::Minimal,
        "low" => Effort::Low,
        "medium" => Effort::Medium,
        "high" => Effort::High,
        "xhigh" => Effort::Xhigh,
        "max" => Effort::Max,
        _ => {
            let what =
                format!("expected none, minimal, low, medium, high or xhigh, not {effort:?}");
            return Err(Refusal::malformed("/reasoning_effort", &what));
        }
    };
    Ok(Some(known))
}
