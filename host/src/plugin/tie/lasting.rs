//! What of a main module lasts beyond a call, besides its memory: its globals,
//! and the handles that it has made.
//!
//! Only a module that can be put back (`reset`) to how it began is read. Its
//! tables never change, all that changes are globals that begin with a number,
//! and each handle that it makes is counted.

use wasm_encoder::reencode::{Reencode, RoundtripReencoder};
use wasm_encoder::{
    ConstExpr, ExportKind, ExportSection, GlobalSection, GlobalType, Instruction, ValType,
};
use wasmparser::{
    ElementItems, ExternalKind, Global, Operator, Parser, Payload, RefType, TableInit, TypeRef,
    ValType as Read,
};

use super::Untied;

/// See the module.
#[derive(Default)]
pub(super) struct Lasting {
    /// Globals that change, by their numbers, and what they begin with.
    pub globals: Vec<(u32, GlobalType, Instruction<'static>)>,
    /// The imported functions that make a handle.
    makers: Vec<u32>,
    /// How many globals there are, and the number of the one that is added.
    pub made: u32,
}

/// What the globals are called that the main module exports to be put back.
pub(super) fn global(number: u32) -> String {
    format!("palisade:global-{number}")
}

/// The counter of the handles that the main module has made.
pub(super) const MADE: GlobalType = GlobalType {
    val_type: ValType::I64,
    mutable: true,
    shared: false,
};

fn changes<T>(what: &'static str) -> Result<T, Untied> {
    Err(Untied::Changes(what))
}

impl Lasting {
    /// Reads a module. `makers` are the modules and the names of imports that
    /// make a handle.
    pub fn read(module: &[u8], makers: &[(&str, &str)]) -> Result<Self, Untied> {
        let mut lasting = Self::default();
        for payload in Parser::new(0).parse_all(module) {
            lasting.add(payload?, makers)?;
        }
        match lasting.made {
            0 => changes("a module without globals"),
            _ => Ok(lasting),
        }
    }

    fn add(&mut self, payload: Payload<'_>, makers: &[(&str, &str)]) -> Result<(), Untied> {
        match payload {
            Payload::ImportSection(section) => {
                for (number, import) in (0..).zip(section.into_imports()) {
                    let import = import?;
                    match import.ty {
                        TypeRef::Func(_) if makers.contains(&(import.module, import.name)) => {
                            self.makers.push(number);
                        }
                        TypeRef::Func(_) => {}
                        _ => return changes("an import that is no function"),
                    }
                }
            }
            Payload::TableSection(section) => {
                for table in section {
                    let table = table?;
                    let of_functions = table.ty.element_type == RefType::FUNCREF;
                    if !of_functions || !matches!(table.init, TableInit::RefNull) {
                        return changes("a table of something else than functions");
                    }
                }
            }
            Payload::GlobalSection(section) => {
                for global in section {
                    self.global(&global?)?;
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.kind == ExternalKind::Func && self.makers.contains(&export.index) {
                        return changes("an export that makes handles");
                    }
                }
            }
            Payload::StartSection { .. } => return changes("a start function"),
            Payload::ElementSection(section) => {
                for element in section {
                    let ElementItems::Functions(functions) = element?.items else {
                        return changes("elements that are computed");
                    };
                    for function in functions {
                        self.not_a_maker(function?)?;
                    }
                }
            }
            Payload::CodeSectionEntry(body) => {
                let mut operators = body.get_operators_reader()?;
                while !operators.eof() {
                    self.operator(&operators.read()?)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn global(&mut self, global: &Global<'_>) -> Result<(), Untied> {
        let numeric = matches!(
            global.ty.content_type,
            Read::I32 | Read::I64 | Read::F32 | Read::F64
        );
        if !numeric || global.ty.shared {
            return changes("a global that is no number");
        }
        if global.ty.mutable {
            let mut operators = global.init_expr.get_operators_reader();
            let begins = match (operators.read()?, operators.read()?) {
                (Operator::I32Const { value }, Operator::End) => Instruction::I32Const(value),
                (Operator::I64Const { value }, Operator::End) => Instruction::I64Const(value),
                (Operator::F32Const { value }, Operator::End) => {
                    Instruction::F32Const(value.into())
                }
                (Operator::F64Const { value }, Operator::End) => {
                    Instruction::F64Const(value.into())
                }
                _ => return changes("a global that does not begin with a number"),
            };
            let ty = RoundtripReencoder.global_type(global.ty);
            let ty = ty.map_err(|_| Untied::Changes("a global of an unusual type"))?;
            self.globals.push((self.made, ty, begins));
        }
        self.made += 1;
        Ok(())
    }

    fn operator(&self, operator: &Operator<'_>) -> Result<(), Untied> {
        match operator {
            Operator::TableSet { .. }
            | Operator::TableGrow { .. }
            | Operator::TableFill { .. }
            | Operator::TableCopy { .. }
            | Operator::TableInit { .. }
            | Operator::ElemDrop { .. } => changes("a table that changes"),
            // What is referred to by number is an element, or exported.
            Operator::ReturnCall { function_index } => self.not_a_maker(*function_index),
            _ => Ok(()),
        }
    }

    fn not_a_maker(&self, function: u32) -> Result<(), Untied> {
        match self.makers.contains(&function) {
            true => changes("handles that are made where they cannot be counted"),
            false => Ok(()),
        }
    }

    /// Whether an instruction makes a handle.
    pub fn makes(&self, operator: &Operator<'_>) -> bool {
        matches!(operator, Operator::Call { function_index } if self.makers.contains(function_index))
    }

    /// Eight bytes of memory on a page that every call writes to: in all
    /// languages that are compiled by LLVM the first global is the end of the
    /// stack.
    pub fn below_stack(&self) -> i32 {
        match self.globals.first() {
            Some((0, _, Instruction::I32Const(end))) if *end > 16 && end % 8 == 0 => end - 16,
            _ => 16,
        }
    }

    /// Adds the counter to the module's globals.
    pub fn count(&self, globals: &mut GlobalSection) {
        globals.global(MADE, &ConstExpr::i64_const(0));
    }

    /// Adds the globals to the module's exports.
    pub fn export(&self, exports: &mut ExportSection) {
        let numbers = self.globals.iter().map(|(number, ..)| *number);
        for number in numbers.chain([self.made]) {
            exports.export(&global(number), ExportKind::Global, number);
        }
    }
}
