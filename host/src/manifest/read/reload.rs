//! `[reload]`: how files become generations.

use super::choice;
use crate::manifest::reader::Fields;
use crate::manifest::{Reload, Watch};

pub(super) fn reload(root: &Fields) -> Reload {
    let default = Reload::default();
    let Some(fields) = root.table("reload") else {
        return default;
    };
    let watch = choice(
        &fields,
        "watch",
        &[("notify", Watch::Notify), ("poll", Watch::Poll)],
    );
    let locked = fields.flag("locked");
    let reload = Reload {
        watch: watch.unwrap_or(default.watch),
        keep: fields.count("keep").unwrap_or(default.keep),
        max_draining: fields.count("max-draining").unwrap_or(default.max_draining),
        auto_rollback: fields.duration_or_off("auto-rollback"),
        locked: locked.filter(|at| at.value).map(|at| at.line),
    };
    fields.done();
    reload
}
