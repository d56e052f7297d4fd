//! What a component defines, in the order of its index spaces.

use wasmparser::{
    CanonicalFunction, CanonicalOption, ComponentAlias, ComponentExternalKind,
    ComponentOuterAliasKind, ComponentTypeRef, Export, ExternalKind, Instance, Parser, Payload,
};

use super::Untied;

/// An export of an instance.
pub(super) type Of<'c> = (u32, &'c str);

/// See the module.
#[derive(Default)]
pub(super) struct Items<'c> {
    pub modules: Vec<&'c [u8]>,
    /// Whether components inside it have code, or functions, of their own.
    pub nested_code: bool,
    pub instances: Vec<Instance<'c>>,
    pub core_functions: Vec<CoreFunction<'c>>,
    pub memories: Vec<Of<'c>>,
    pub tables: Vec<Of<'c>>,
    /// Of component instances, if they are.
    pub functions: Vec<Option<Of<'c>>>,
    /// The core functions that are called from outside, by their numbers.
    pub lifted: Vec<u32>,
}

pub(super) enum CoreFunction<'c> {
    Of(Of<'c>),
    Lowered(u32, Box<[CanonicalOption]>),
    /// Makes handles of a type.
    New,
    /// Drops them, or tells what they stand for.
    OfHandles,
    Other,
}

impl<'c> Items<'c> {
    pub fn read(component: &'c [u8]) -> Result<Self, Untied> {
        let mut items = Self::default();
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(component) {
            let payload = payload?;
            match &payload {
                Payload::ModuleSection {
                    unchecked_range, ..
                } => {
                    match depth {
                        0 => items.modules.push(&component[unchecked_range.clone()]),
                        _ => items.nested_code = true,
                    }
                    depth += 1;
                }
                Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::InstanceSection(_) | Payload::ComponentCanonicalSection(_)
                    if depth > 0 =>
                {
                    items.nested_code = true;
                }
                _ if depth > 0 => {}
                _ => items.add(payload)?,
            }
        }
        Ok(items)
    }

    fn add(&mut self, payload: Payload<'c>) -> Result<(), Untied> {
        match payload {
            Payload::InstanceSection(section) => {
                for instance in section {
                    self.instances.push(instance?);
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section {
                    self.alias(&alias?);
                }
            }
            Payload::ComponentCanonicalSection(section) => {
                for function in section {
                    match function? {
                        CanonicalFunction::Lift {
                            core_func_index,
                            options,
                            ..
                        } => {
                            self.functions.push(None);
                            self.lifted.push(core_func_index);
                            self.lifted.extend(options.iter().filter_map(called));
                        }
                        CanonicalFunction::Lower {
                            func_index,
                            options,
                        } => self
                            .core_functions
                            .push(CoreFunction::Lowered(func_index, options)),
                        CanonicalFunction::ResourceNew { .. } => {
                            self.core_functions.push(CoreFunction::New);
                        }
                        CanonicalFunction::ResourceDrop { .. }
                        | CanonicalFunction::ResourceRep { .. } => {
                            self.core_functions.push(CoreFunction::OfHandles);
                        }
                        _ => self.core_functions.push(CoreFunction::Other),
                    }
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    match import?.ty {
                        ComponentTypeRef::Func(_) => self.functions.push(None),
                        ComponentTypeRef::Module(_) => self.modules.push(&[]),
                        _ => {}
                    }
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    match export?.kind {
                        ComponentExternalKind::Func => self.functions.push(None),
                        ComponentExternalKind::Module => self.modules.push(&[]),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn alias(&mut self, alias: &ComponentAlias<'c>) {
        match *alias {
            ComponentAlias::InstanceExport {
                kind,
                instance_index,
                name,
            } => match kind {
                ComponentExternalKind::Func => self.functions.push(Some((instance_index, name))),
                ComponentExternalKind::Module => self.modules.push(&[]),
                _ => {}
            },
            ComponentAlias::CoreInstanceExport {
                kind,
                instance_index,
                name,
            } => match kind {
                ExternalKind::Func | ExternalKind::FuncExact => self
                    .core_functions
                    .push(CoreFunction::Of((instance_index, name))),
                ExternalKind::Memory => self.memories.push((instance_index, name)),
                ExternalKind::Table => self.tables.push((instance_index, name)),
                ExternalKind::Global | ExternalKind::Tag => {}
            },
            ComponentAlias::Outer { kind, .. } => {
                if kind == ComponentOuterAliasKind::CoreModule {
                    self.modules.push(&[]);
                }
            }
        }
    }

    /// What an instance is made up of that is made of no module.
    pub fn bag(&self, instance: u32) -> Option<&[Export<'c>]> {
        match self.instances.get(instance as usize)? {
            Instance::FromExports(exports) => Some(exports),
            Instance::Instantiate { .. } => None,
        }
    }

    /// How many instances there are that are made of a module.
    pub fn made(&self) -> usize {
        let made = self.instances.iter();
        made.filter(|instance| matches!(instance, Instance::Instantiate { .. }))
            .count()
    }

    /// The module of an instance, if it is of no other.
    pub fn only(&self, instance: u32) -> Result<Part, Untied> {
        let module_of = |instance: &Instance<'_>| match instance {
            Instance::Instantiate { module_index, .. } => Some(*module_index),
            Instance::FromExports(_) => None,
        };
        let module = self.instances.get(instance as usize).and_then(module_of);
        let module = module.ok_or(Untied::Shape("an instance of no module"))?;
        let same = self.instances.iter().filter_map(module_of);
        match same.filter(|other| *other == module).count() {
            1 => Ok(Part { module, instance }),
            _ => Err(Untied::Shape("a module with several instances")),
        }
    }
}

/// The function that an option has called, by its number.
fn called(option: &CanonicalOption) -> Option<u32> {
    match option {
        CanonicalOption::Realloc(function)
        | CanonicalOption::PostReturn(function)
        | CanonicalOption::Callback(function) => Some(*function),
        _ => None,
    }
}

/// A module and its only instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub module: u32,
    pub instance: u32,
}
