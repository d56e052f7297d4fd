//! Which part of a component is what, if it is of the shape that tools give it.

use wasm_encoder::CanonicalOption;
use wasmparser::{CanonicalOption as Read, Export, ExternalKind, Instance};

use super::Untied;
use super::items::{CoreFunction, Items, Of, Part};

/// The table of the shim, by the name that tools give it.
const SHIM_TABLE: &str = "$imports";

/// How many instances are made of a module: shim, main module and fixup.
const PARTS: usize = 3;

/// What becomes of which part of a component.
pub(super) struct Plan<'c> {
    pub shim: Part,
    pub main: Part,
    pub fixup: Part,
    /// The instance that the fixup takes its imports from.
    pub filling: u32,
    /// What the functions of the shim lead to, by their numbers.
    pub slots: Vec<Slot<'c>>,
    /// Functions of the main module that are needed before it is there, by
    /// their names.
    pub late: Vec<&'c str>,
}

pub(super) enum Slot<'c> {
    Lowered {
        /// The core function that it was.
        lowered: u32,
        function: u32,
        of: Of<'c>,
        options: Vec<LowerOption>,
    },
    Late(usize),
}

/// An option of a function that is lowered.
#[derive(Clone, Copy)]
pub(super) enum LowerOption {
    Plain(CanonicalOption),
    Memory,
    Realloc(usize),
}

impl<'c> Plan<'c> {
    pub fn of(items: &Items<'c>) -> Result<Self, Untied> {
        let fixup = Fixup::of(items)?;
        let exports = items.bag(fixup.filling);
        let exports = exports.ok_or(Untied::Shape("a fixup without imports"))?;
        let functions = exports
            .iter()
            .filter(|export| export.kind == ExternalKind::Func);
        let mut plan = Self {
            shim: items.only(fixup.shim)?,
            main: main(items, exports)?,
            fixup: fixup.part,
            filling: fixup.filling,
            slots: Vec::new(),
            late: Vec::new(),
        };
        for number in 0..functions.clone().count() {
            let number = number.to_string();
            let function = functions.clone().find(|function| function.name == number);
            let function = function.ok_or(Untied::Shape("a shim without numbers"))?;
            let slot = plan.slot(items, function.index)?;
            plan.slots.push(slot);
        }
        let parts = [plan.shim, plan.main, plan.fixup];
        let instances = parts.map(|part| part.instance);
        if !instances.is_sorted_by(|a, b| a < b) {
            return Err(Untied::Shape("instances in another order"));
        }
        Ok(plan)
    }

    fn slot(&mut self, items: &Items<'c>, core_function: u32) -> Result<Slot<'c>, Untied> {
        match items.core_functions.get(core_function as usize) {
            Some(CoreFunction::Lowered(function, options)) => {
                let of = items.functions.get(*function as usize).copied().flatten();
                let options = options.iter().map(|option| self.option(items, option));
                Ok(Slot::Lowered {
                    lowered: core_function,
                    function: *function,
                    of: of.ok_or(Untied::Shape("an import of no instance"))?,
                    options: options.collect::<Result<_, _>>()?,
                })
            }
            Some(CoreFunction::Of(of)) => Ok(Slot::Late(self.late(*of)?)),
            _ => Err(Untied::Shape("a shim for something else")),
        }
    }

    fn option(&mut self, items: &Items<'c>, option: &Read) -> Result<LowerOption, Untied> {
        Ok(match option {
            Read::UTF8 => LowerOption::Plain(CanonicalOption::UTF8),
            Read::UTF16 => LowerOption::Plain(CanonicalOption::UTF16),
            Read::CompactUTF16 => LowerOption::Plain(CanonicalOption::CompactUTF16),
            Read::Memory(_) => LowerOption::Memory,
            Read::Realloc(function) => match items.core_functions.get(*function as usize) {
                Some(CoreFunction::Of(of)) => LowerOption::Realloc(self.late(*of)?),
                _ => return Err(Untied::Shape("an allocator that is not exported")),
            },
            _ => return Err(Untied::Shape("an import of another kind")),
        })
    }

    /// The imports of the main module that make a handle, by their modules and
    /// names, if nothing but that module does something, and it has nothing
    /// but such handles from elsewhere.
    pub fn makers(&self, items: &Items<'c>) -> Result<Vec<(&'c str, &'c str)>, Untied> {
        if items.nested_code || items.made() != PARTS {
            return Err(Untied::Changes("several modules"));
        }
        let Some(Instance::Instantiate { args, .. }) =
            items.instances.get(self.main.instance as usize)
        else {
            return Err(Untied::Shape("an instance of no module"));
        };
        for function in &items.lifted {
            match items.core_functions.get(*function as usize) {
                Some(CoreFunction::Of((instance, _))) if *instance == self.main.instance => {}
                _ => return Err(Untied::Changes("an export of another module")),
            }
        }
        let mut makers = Vec::new();
        for arg in args {
            let bag = items.bag(arg.index);
            for export in bag.ok_or(Untied::Changes("several modules"))? {
                let function = match export.kind {
                    ExternalKind::Func => items.core_functions.get(export.index as usize),
                    _ => None,
                };
                match function {
                    Some(CoreFunction::New) => makers.push((arg.name, export.name)),
                    Some(CoreFunction::OfHandles | CoreFunction::Lowered(..)) => {}
                    Some(CoreFunction::Of((instance, _))) if *instance == self.shim.instance => {}
                    _ => return Err(Untied::Changes("an import of another kind")),
                }
            }
        }
        Ok(makers)
    }

    /// The number of a function of the main module among those that are late.
    fn late(&mut self, (instance, name): Of<'c>) -> Result<usize, Untied> {
        if instance != self.main.instance {
            return Err(Untied::Shape("a function of another instance"));
        }
        let known = self.late.iter().position(|known| *known == name);
        Ok(known.unwrap_or_else(|| {
            self.late.push(name);
            self.late.len() - 1
        }))
    }
}

/// The instance that fills the table of a shim.
struct Fixup {
    part: Part,
    shim: u32,
    /// The instance that is made up of what it fills the table with.
    filling: u32,
}

impl Fixup {
    /// The only one of a component. It takes the table and what fills it apart
    /// or, of older tools, together.
    fn of(items: &Items<'_>) -> Result<Self, Untied> {
        let mut found = (0..)
            .zip(&items.instances)
            .filter_map(|(number, instance)| {
                let Instance::Instantiate { args, .. } = instance else {
                    return None;
                };
                let named = |name: &str| args.iter().find(|arg| arg.name == name);
                let (filling, shim) = match (named("actual"), named("shim"), &args[..]) {
                    (Some(filling), Some(shim), _) => (filling.index, shim.index),
                    (None, None, [both]) if both.name.is_empty() => {
                        let table = items
                            .bag(both.index)?
                            .iter()
                            .find(|export| export.name == SHIM_TABLE)?;
                        (both.index, items.tables.get(table.index as usize)?.0)
                    }
                    _ => return None,
                };
                Some((number, filling, shim))
            });
        match (found.next(), found.next()) {
            (Some((number, filling, shim)), None) => Ok(Self {
                part: items.only(number)?,
                shim,
                filling,
            }),
            _ => Err(Untied::Shape("not one fixup")),
        }
    }
}

/// The instance in whose memory all that is lowered for the shim works.
fn main(items: &Items<'_>, exports: &[Export<'_>]) -> Result<Part, Untied> {
    let functions = exports
        .iter()
        .filter(|export| export.kind == ExternalKind::Func)
        .filter_map(|export| items.core_functions.get(export.index as usize));
    let memories = functions.flat_map(|function| match function {
        CoreFunction::Lowered(_, options) => &options[..],
        _ => &[],
    });
    let mut instances = memories.filter_map(|option| match option {
        Read::Memory(memory) => items.memories.get(*memory as usize).map(|(main, _)| *main),
        _ => None,
    });
    let main = instances
        .next()
        .ok_or(Untied::Shape("imports without memory"))?;
    match instances.all(|other| other == main) {
        true => items.only(main),
        false => Err(Untied::Shape("several memories")),
    }
}
