//! Ties a component's module to its imports in two instances instead of three.
//!
//! A function of the host's is lowered with the memory and the allocator of the
//! module that imports it, so it cannot be there before that module is, nor the
//! module before its imports. Tools (wit-component) put two more modules beside
//! it: a *shim* whose functions jump through a table, and a *fixup* that fills
//! the table when all are there. Every instance of the component makes all
//! three.
//!
//! Here the memory is in a module of its own, the *base*, which is made first:
//! the imports are lowered with its memory and given to the main module as they
//! are. What the main module has and they need, its allocator, is called
//! through a table of the base that the main module fills itself.
//!
//! Only a component of exactly this shape is changed: one main module, whose
//! data is in place when it begins.
//!
//! Such an instance has little that lasts from one call to the next, and what
//! it is is known: the memory, globals, and handles. A third instance that is
//! added puts it back to how it began, for the next exchange, if all that can
//! be put back.
//!
//! - `items`: what a component defines
//! - `plan`: which part is what, if it is of the shape
//! - `tools`: whether a shim and a fixup do what tools make of them, and no more
//! - `main_module`: the main module, and the base made of it
//! - `lasting`: what of the main module lasts, and whether it can be put back
//! - `image`: what its memory begins with
//! - `reset`: the module that puts an instance back
//! - `rewrite`: the component written anew

mod image;
mod items;
mod lasting;
mod main_module;
mod plan;
mod reset;
mod rewrite;
mod tools;

use wasm_encoder::Component;
use wasm_encoder::reencode::{Error, ReencodeComponent};
use wasmparser::Parser;

use items::{Items, Part};
use lasting::Lasting;
use main_module::Main;
use plan::Plan;
use rewrite::Rewrite;
use tools::{is_fixup, is_shim};

pub(super) use image::PAGE;
pub(super) use reset::{Arguments, MAX_HANDLES, Names, RANGES};

/// Changes whenever what is written does: it is part of the name that compiled
/// images are stored under.
pub(super) const VERSION: u32 = 3;

/// What the base is called, and what it exports: names that no shim has.
const BASE: &str = "palisade:base";
const MEMORY: &str = "base-memory";
const LATE: &str = "late";

fn late(number: usize) -> String {
    format!("{LATE}-{number}")
}

/// Why a component stays as it is.
#[derive(Debug, thiserror::Error)]
pub(super) enum Untied {
    #[error("it is not of the shape that tools give it: {0}")]
    Shape(&'static str),
    #[error("what it changes cannot be put back: {0}")]
    Changes(&'static str),
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] wasmparser::Error),
}

impl From<Error<Untied>> for Untied {
    fn from(error: Error<Untied>) -> Self {
        match error {
            Error::UserError(error) => error,
            Error::ParseError(error) => Self::Unreadable(error),
            _ => Self::Shape("a part that cannot be written again"),
        }
    }
}

/// How much of each kind a component defines, and where its parts are.
struct Sizes {
    types: u32,
    modules: u32,
    instances: u32,
    core_functions: u32,
    functions: u32,
    /// The number of the memory.
    memory: u32,
    /// The numbers of the instances.
    base: u32,
    main: u32,
}

/// A component that has been written anew.
pub(super) struct Tied {
    pub component: Vec<u8>,
    /// Why an instance of it cannot be put back, if so.
    pub lasts: Option<Untied>,
}

/// The same component in two instances, with what puts it back by `names`.
pub(super) fn tie(component: &[u8], names: &Names) -> Result<Tied, Untied> {
    let items = Items::read(component)?;
    let plan = Plan::of(&items)?;
    let module = |part: Part| items.modules.get(part.module as usize).copied();
    let (shim, fixup) = (module(plan.shim), module(plan.fixup));
    if !is_shim(shim.unwrap_or_default(), plan.slots.len())?
        || !is_fixup(fixup.unwrap_or_default(), plan.slots.len())?
    {
        return Err(Untied::Shape("a shim or a fixup that does something else"));
    }
    let main = module(plan.main).unwrap_or_default();
    let lasting = plan
        .makers(&items)
        .and_then(|makers| Lasting::read(main, &makers));
    let (lasting, lasts) = match lasting {
        Ok(lasting) => (Some(lasting), None),
        Err(why) => (None, Some(why)),
    };
    let main = Main::read(main, &plan.late, lasting)?;
    let mut rewrite = Rewrite::new(&plan, main);
    let mut tied = Component::new();
    rewrite.parse_component(&mut tied, Parser::new(0), component)?;
    if rewrite.lost {
        return Err(Untied::Shape("something of the shim is used elsewhere"));
    }
    let mut component = tied.finish();
    let reset = match lasts {
        Some(why) => Err(why),
        None => rewrite.main.reset(&rewrite.sizes(), names),
    };
    let lasts = reset.map(|sections| component.extend(sections)).err();
    Ok(Tied { component, lasts })
}

#[cfg(test)]
mod tests {
    use wasmparser::Payload;
    use wasmtime::component::{Component as Compiled, Linker};
    use wasmtime::{Engine, Store};

    use super::*;

    /// Asks the host, through a table of its own, to shout what its memory
    /// begins with; the host answers in memory that it allocates.
    const ASKING: &str = r#"(component
        (import "host" (instance $host
            (export "shout" (func (param "text" string) (result string)))))
        (core module $main
            (import "host" "shout" (func $shout (param i32 i32 i32)))
            (memory (export "memory") 1)
            (table 2 funcref)
            (elem (i32.const 1) $asked)
            (global $stack (mut i32) (i32.const 65536))
            (data (i32.const 16) "gate")
            (func $asked (call $shout (i32.const 16) (i32.const 4) (i32.const 8)))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
            (func (export "ask") (result i32)
                (call_indirect (i32.const 1)) i32.const 8))
        (core module $shim
            (type $shout (func (param i32 i32 i32)))
            (table (export "$imports") 1 funcref)
            (func (export "0") (type $shout)
                (call_indirect (type $shout)
                    (local.get 0) (local.get 1) (local.get 2) (i32.const 0))))
        (core instance $shim (instantiate $shim))
        (alias core export $shim "0" (core func $indirect))
        (core instance $imports (export "shout" (func $indirect)))
        (core instance $main (instantiate $main (with "host" (instance $imports))))
        (alias core export $main "memory" (core memory $memory))
        (core module $fixup
            (import "actual" "0" (func (param i32 i32 i32)))
            (import "shim" "$imports" (table 1 funcref))
            (elem (i32.const 0) 0))
        (alias export $host "shout" (func $shout))
        (alias core export $main "cabi_realloc" (core func $realloc))
        (core func $lowered (canon lower (func $shout) (memory $memory) (realloc $realloc)))
        (core instance $actual (export "0" (func $lowered)))
        (core instance (instantiate $fixup
            (with "actual" (instance $actual)) (with "shim" (instance $shim))))
        (alias core export $main "ask" (core func $ask))
        (func $lifted (result string) (canon lift (core func $ask) (memory $memory)))
        (export "ask" (func $lifted)))"#;

    /// How older tools give the fixup what it takes.
    const TOGETHER: &[(&str, &str)] = &[
        ("\"actual\" \"0\" (func (param", "\"\" \"0\" (func (param"),
        ("\"shim\" \"$imports\"", "\"\" \"$imports\""),
        (
            "(core instance $actual (export",
            "(alias core export $shim \"$imports\" (core table $table))
             (core instance $actual (export \"$imports\" (table $table)) (export",
        ),
        (
            "(with \"actual\" (instance $actual)) (with \"shim\" (instance $shim))",
            "(with \"\" (instance $actual))",
        ),
    ];

    /// A fixup that is given the main module too, and once began it.
    const BEGUN: &[(&str, &str)] = &[
        (
            "(import \"shim\" \"$imports\"",
            "(import \"main\" \"ask\" (func (result i32))) (import \"shim\" \"$imports\"",
        ),
        (
            "(with \"actual\" (instance $actual)) ",
            "(with \"actual\" (instance $actual)) (with \"main\" (instance $main)) ",
        ),
    ];

    /// A component with changes, made one after another.
    pub(super) fn component(changes: &[(&str, &str)]) -> Vec<u8> {
        let mut text = ASKING.to_owned();
        for (from, to) in changes {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        wat::parse_str(text).unwrap()
    }

    /// What it answers, and of how many core modules.
    fn ask(component: &[u8]) -> (String, usize) {
        let engine = Engine::default();
        let compiled = Compiled::from_binary(&engine, component).unwrap();
        let mut linker = Linker::<()>::new(&engine);
        let mut host = linker.instance("host").unwrap();
        host.func_wrap("shout", |_, (text,): (String,)| Ok((text.to_uppercase(),)))
            .unwrap();
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, &compiled).unwrap();
        let ask = instance
            .get_typed_func::<(), (String,)>(&mut store, "ask")
            .unwrap();
        let modules = Parser::new(0).parse_all(component);
        let modules = modules
            .filter(|payload| matches!(payload.as_ref().unwrap(), Payload::ModuleSection { .. }));
        (ask.call(&mut store, ()).unwrap().0, modules.count())
    }

    #[test]
    fn a_tied_component_does_what_it_did_in_one_module_less() {
        for changes in [&[], TOGETHER, BEGUN] {
            let component = component(changes);
            assert_eq!(ask(&component), ("GATE".to_owned(), 3));
            let tied = tie(&component, &Names::of("0")).unwrap_or_else(|e| panic!("{e}"));
            assert!(tied.lasts.is_none(), "{:?}", tied.lasts);
            assert_eq!(ask(&tied.component), ("GATE".to_owned(), 3));
        }
    }

    #[test]
    fn another_shape_stays_as_it_is() {
        let cases: &[(&[(&str, &str)], &str)] = &[
            (
                &[("(data (i32.const 16) \"gate\")", "(data \"gate\")")],
                "data that is put in place later",
            ),
            (
                &[(
                    "(data (i32.const 16)",
                    "(global $at i32 (i32.const 16)) (data (global.get $at)",
                )],
                "data whose place is not fixed",
            ),
            (
                &[
                    ("(elem (i32.const 1) $asked)", ""),
                    ("(call_indirect (i32.const 1))", "(call $asked)"),
                ],
                "a main module without imports or elements",
            ),
            (
                &[(
                    "(core module $fixup",
                    "(core instance (instantiate $main (with \"host\" (instance $imports))))
                     (core module $fixup",
                )],
                "a module with several instances",
            ),
            (
                &[
                    (
                        "\"0\" (func (param i32 i32 i32))",
                        "\"one\" (func (param i32 i32 i32))",
                    ),
                    (
                        "(core instance $actual (export \"0\"",
                        "(core instance $actual (export \"one\"",
                    ),
                ],
                "a shim without numbers",
            ),
            (
                &[(
                    "(local.get 2) (i32.const 0)",
                    "(local.get 2) (i32.const 0) (nop)",
                )],
                "a shim or a fixup that does something else",
            ),
            (
                &[
                    (
                        "(func (export \"ask\")",
                        "(func (export \"begin\")) (func (export \"ask\")",
                    ),
                    (
                        "(import \"shim\" \"$imports\"",
                        "(import \"main\" \"begin\" (func)) (import \"shim\" \"$imports\"",
                    ),
                    (
                        "(with \"actual\" (instance $actual)) ",
                        "(with \"actual\" (instance $actual)) (with \"main\" (instance $main)) ",
                    ),
                    ("(elem (i32.const 0) 0)", "(start 1) (elem (i32.const 0) 0)"),
                ],
                "a shim or a fixup that does something else",
            ),
            (
                &[(
                    "(elem (i32.const 0) 0)",
                    "(elem (i32.const 0) 0) (elem (i32.const 0) 0)",
                )],
                "a shim or a fixup that does something else",
            ),
        ];
        for (changes, why) in cases {
            let component = component(changes);
            wasmparser::validate(&component).unwrap();
            let error = tie(&component, &Names::of("0")).err().unwrap().to_string();
            assert!(error.ends_with(why), "{error}");
        }
        let small = wat::parse_str("(component)").unwrap();
        let error = tie(&small, &Names::of("0")).err().unwrap().to_string();
        assert!(error.ends_with("not one fixup"), "{error}");
        assert!(matches!(
            tie(b"\0asm\x0d\0\x01\0\xff", &Names::of("0")),
            Err(Untied::Unreadable(_))
        ));
    }
}
