//! The component written anew, with the numbers that things have now.

use std::collections::HashMap;

use wasm_encoder::reencode::{Error, Reencode, ReencodeComponent, component_utils};
use wasm_encoder::{
    Alias, CanonicalFunctionSection, CanonicalOption, Component, ComponentAliasSection,
    ComponentExportKind, ComponentExportSection, ComponentImportSection, ComponentSectionId,
    ExportKind, InstanceSection, Module, ModuleArg, ModuleSection, RawSection,
};
use wasmparser::{
    CanonicalFunction, ComponentAlias, ComponentExternalKind, ComponentOuterAliasKind,
    ComponentTypeRef, ExternalKind, Instance, Parser, Payload,
};

use super::main_module::Main;
use super::plan::{LowerOption, Plan, Slot};
use super::{BASE, MEMORY, Sizes, Untied};

/// An index space of a component that is written anew.
#[derive(Default)]
struct Space {
    /// What became of each that there was.
    now: Vec<Option<u32>>,
    size: u32,
}

impl Space {
    /// The number of the one that is read next.
    fn next(&self) -> u32 {
        self.now.len() as u32
    }

    /// One that there was not.
    fn add(&mut self) -> u32 {
        self.size += 1;
        self.size - 1
    }

    fn keep(&mut self) {
        let now = self.add();
        self.now.push(Some(now));
    }

    /// One whose part another has, or none.
    fn replace(&mut self, by: Option<u32>) {
        self.now.push(by);
    }

    fn get(&self, was: u32) -> Option<u32> {
        self.now.get(was as usize).copied().flatten()
    }
}

/// See the module.
pub(super) struct Rewrite<'p, 'c> {
    plan: &'p Plan<'c>,
    pub main: Main<'c>,
    /// How many types there are; they keep their numbers.
    types: u32,
    modules: Space,
    instances: Space,
    core_functions: Space,
    memories: Space,
    tables: Space,
    functions: Space,
    /// What it has instead of the shim's functions, and of the functions and
    /// what they were lowered to.
    slots: Vec<u32>,
    imports: HashMap<u32, u32>,
    lowered: HashMap<u32, u32>,
    memory: u32,
    /// Whether something is used that is no longer there.
    pub lost: bool,
}

impl<'p, 'c> Rewrite<'p, 'c> {
    pub fn new(plan: &'p Plan<'c>, main: Main<'c>) -> Self {
        Self {
            plan,
            main,
            types: 0,
            modules: Space::default(),
            instances: Space::default(),
            core_functions: Space::default(),
            memories: Space::default(),
            tables: Space::default(),
            functions: Space::default(),
            slots: Vec::new(),
            imports: HashMap::new(),
            lowered: HashMap::new(),
            memory: 0,
            lost: false,
        }
    }

    /// What there is of each kind, now that all is written.
    pub fn sizes(&self) -> Sizes {
        let now = |was: u32| self.instances.get(was).unwrap_or_default();
        Sizes {
            types: self.types,
            modules: self.modules.size,
            instances: self.instances.size,
            core_functions: self.core_functions.size,
            functions: self.functions.size,
            memory: self.memory,
            base: now(self.plan.shim.instance),
            main: now(self.plan.main.instance),
        }
    }

    fn found(&mut self, now: Option<u32>) -> u32 {
        self.lost |= now.is_none();
        now.unwrap_or_default()
    }

    fn instance(
        &mut self,
        component: &mut Component,
        instance: Instance<'_>,
    ) -> Result<(), Error<Untied>> {
        let (plan, number) = (self.plan, self.instances.next());
        let mut section = InstanceSection::new();
        if number == plan.fixup.instance || number == plan.filling {
            self.instances.replace(None);
            return Ok(());
        }
        match instance {
            Instance::Instantiate { module_index, args } if number == plan.main.instance => {
                let base = self.instance_index(plan.shim.instance);
                let args = args.iter().map(|arg| {
                    (
                        arg.name,
                        ModuleArg::Instance(self.instance_index(arg.index)),
                    )
                });
                let mut args: Vec<_> = args.collect();
                args.push((BASE, ModuleArg::Instance(base)));
                section.instantiate(self.module_index(module_index), args);
            }
            instance => component_utils::parse_instance(self, &mut section, instance)?,
        }
        self.instances.keep();
        component.section(&section);
        if number == plan.shim.instance {
            self.lower(component);
        }
        Ok(())
    }

    /// Lowers the imports with the base's memory, which is there now.
    fn lower(&mut self, component: &mut Component) {
        let plan = self.plan;
        let base = self.instance_index(plan.shim.instance);
        let mut aliases = ComponentAliasSection::new();
        let of_base = |kind, name| Alias::CoreInstanceExport {
            instance: base,
            kind,
            name,
        };
        aliases.alias(of_base(ExportKind::Memory, MEMORY));
        self.memory = self.memories.add();
        let names: Vec<String> = (0..plan.late.len()).map(super::late).collect();
        let mut late = Vec::new();
        for name in &names {
            aliases.alias(of_base(ExportKind::Func, name));
            late.push(self.core_functions.add());
        }
        let mut lowered_now = CanonicalFunctionSection::new();
        for slot in &plan.slots {
            let now = match slot {
                Slot::Late(number) => late[*number],
                Slot::Lowered {
                    lowered,
                    function,
                    of: (instance, name),
                    options,
                } => {
                    let functions = &mut self.functions;
                    let import = *self.imports.entry(*function).or_insert_with(|| {
                        aliases.alias(Alias::InstanceExport {
                            instance: *instance,
                            kind: ComponentExportKind::Func,
                            name,
                        });
                        functions.add()
                    });
                    let options = options.iter().map(|option| match option {
                        LowerOption::Plain(option) => *option,
                        LowerOption::Memory => CanonicalOption::Memory(self.memory),
                        LowerOption::Realloc(number) => CanonicalOption::Realloc(late[*number]),
                    });
                    lowered_now.lower(import, options.collect::<Vec<_>>());
                    let now = self.core_functions.add();
                    self.lowered.insert(*lowered, now);
                    now
                }
            };
            self.slots.push(now);
        }
        component.section(&aliases).section(&lowered_now);
    }

    /// Whether an alias is still there, after it has been given its number.
    fn keeps(&mut self, alias: &ComponentAlias<'_>) -> bool {
        let plan = self.plan;
        match *alias {
            ComponentAlias::CoreInstanceExport {
                kind,
                instance_index,
                name,
            } => {
                let (of_shim, of_main) = (
                    instance_index == plan.shim.instance,
                    instance_index == plan.main.instance,
                );
                match kind {
                    ExternalKind::Func | ExternalKind::FuncExact if of_shim => {
                        let number = name.parse::<usize>().ok();
                        let slot = number.and_then(|number| self.slots.get(number));
                        self.core_functions.replace(slot.copied());
                        return false;
                    }
                    ExternalKind::Table if of_shim => {
                        self.tables.replace(None);
                        return false;
                    }
                    ExternalKind::Memory if of_main => {
                        self.memories.replace(Some(self.memory));
                        return false;
                    }
                    ExternalKind::Func | ExternalKind::FuncExact => self.core_functions.keep(),
                    ExternalKind::Table => self.tables.keep(),
                    ExternalKind::Memory => self.memories.keep(),
                    ExternalKind::Global | ExternalKind::Tag => {}
                }
            }
            ComponentAlias::InstanceExport { kind, .. } => {
                let known = self.imports.get(&self.functions.next());
                self.types += u32::from(kind == ComponentExternalKind::Type);
                match (kind, known) {
                    (ComponentExternalKind::Func, Some(known)) => {
                        self.functions.replace(Some(*known));
                        return false;
                    }
                    (ComponentExternalKind::Func, None) => self.functions.keep(),
                    (ComponentExternalKind::Module, _) => self.modules.keep(),
                    _ => {}
                }
            }
            ComponentAlias::Outer { kind, .. } => match kind {
                ComponentOuterAliasKind::CoreModule => self.modules.keep(),
                ComponentOuterAliasKind::Type => self.types += 1,
                _ => {}
            },
        }
        true
    }
}

impl Reencode for Rewrite<'_, '_> {
    type Error = Untied;

    fn function_index(&mut self, function: u32) -> Result<u32, Error<Untied>> {
        let now = self.core_functions.get(function);
        Ok(self.found(now))
    }

    fn memory_index(&mut self, memory: u32) -> Result<u32, Error<Untied>> {
        let now = self.memories.get(memory);
        Ok(self.found(now))
    }

    fn table_index(&mut self, table: u32) -> Result<u32, Error<Untied>> {
        let now = self.tables.get(table);
        Ok(self.found(now))
    }
}

impl ReencodeComponent for Rewrite<'_, '_> {
    fn module_index(&mut self, module: u32) -> u32 {
        let now = self.modules.get(module);
        self.found(now)
    }

    fn instance_index(&mut self, instance: u32) -> u32 {
        let now = self.instances.get(instance);
        self.found(now)
    }

    fn component_func_index(&mut self, function: u32) -> u32 {
        let now = self.functions.get(function);
        self.found(now)
    }

    fn parse_component_submodule(
        &mut self,
        component: &mut Component,
        parser: Parser,
        module: &[u8],
    ) -> Result<(), Error<Untied>> {
        let (plan, number) = (self.plan, self.modules.next());
        if number == plan.fixup.module {
            self.modules.replace(None);
            return Ok(());
        }
        self.modules.keep();
        if number == plan.shim.module {
            component.section(&ModuleSection(&self.main.base()?));
        } else if number == plan.main.module {
            let mut main = Module::new();
            self.main.parse_core_module(&mut main, parser, module)?;
            component.section(&ModuleSection(&main));
        } else {
            raw(component, ComponentSectionId::CoreModule, module);
        }
        Ok(())
    }

    // What is inside uses nothing of the core outside.
    fn parse_component_subcomponent(
        &mut self,
        component: &mut Component,
        _: Parser,
        inner: &[u8],
        _: &[u8],
    ) -> Result<(), Error<Untied>> {
        raw(component, ComponentSectionId::Component, inner);
        Ok(())
    }

    fn parse_component_payload(
        &mut self,
        component: &mut Component,
        payload: Payload<'_>,
        whole: &[u8],
    ) -> Result<(), Error<Untied>> {
        if let Payload::ComponentTypeSection(section) = &payload {
            self.types += section.count();
        }
        match payload {
            Payload::InstanceSection(section) => {
                for instance in section {
                    self.instance(component, instance?)?;
                }
                Ok(())
            }
            // Names by numbers that are others now.
            Payload::CustomSection(section) if section.name() == "component-name" => Ok(()),
            payload => component_utils::parse_component_payload(self, component, payload, whole),
        }
    }

    fn parse_component_alias_section(
        &mut self,
        aliases: &mut ComponentAliasSection,
        section: wasmparser::ComponentAliasSectionReader<'_>,
    ) -> Result<(), Error<Untied>> {
        for alias in section {
            let alias = alias?;
            if self.keeps(&alias) {
                let alias = self.component_alias(alias)?;
                aliases.alias(alias);
            }
        }
        Ok(())
    }

    fn parse_component_canonical(
        &mut self,
        section: &mut CanonicalFunctionSection,
        function: CanonicalFunction,
    ) -> Result<(), Error<Untied>> {
        if matches!(function, CanonicalFunction::Lift { .. }) {
            self.functions.keep();
        } else if let Some(now) = self.lowered.get(&self.core_functions.next()) {
            self.core_functions.replace(Some(*now));
            return Ok(());
        } else {
            self.core_functions.keep();
        }
        component_utils::parse_component_canonical(self, section, function)
    }

    fn parse_component_import_section(
        &mut self,
        imports: &mut ComponentImportSection,
        section: wasmparser::ComponentImportSectionReader<'_>,
    ) -> Result<(), Error<Untied>> {
        for import in section.clone() {
            match import?.ty {
                ComponentTypeRef::Func(_) => self.functions.keep(),
                ComponentTypeRef::Module(_) => self.modules.keep(),
                ComponentTypeRef::Type(_) => self.types += 1,
                _ => {}
            }
        }
        component_utils::parse_component_import_section(self, imports, section)
    }

    fn parse_component_export(
        &mut self,
        exports: &mut ComponentExportSection,
        export: wasmparser::ComponentExport<'_>,
    ) -> Result<(), Error<Untied>> {
        let kind = export.kind;
        component_utils::parse_component_export(self, exports, export)?;
        match kind {
            ComponentExternalKind::Func => self.functions.keep(),
            ComponentExternalKind::Module => self.modules.keep(),
            ComponentExternalKind::Type => self.types += 1,
            _ => {}
        }
        Ok(())
    }
}

fn raw(component: &mut Component, id: ComponentSectionId, data: &[u8]) {
    component.section(&RawSection { id: id as u8, data });
}
