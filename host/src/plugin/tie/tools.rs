//! Whether a shim and a fixup do what tools make of them, and no more.

use std::collections::HashMap;

use wasmparser::{
    ConstExpr, Element, ElementItems, ElementKind, ExternalKind, FunctionBody, Operator, Parser,
    Payload, TypeRef,
};

use super::Untied;

/// Whether function `N` of so many, exported as `N`, only calls what is in
/// place `N` of the only table, with what it is given.
pub(super) fn is_shim(module: &[u8], slots: usize) -> Result<bool, Untied> {
    let (mut exports, mut bodies) = (HashMap::new(), Vec::new());
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.kind == ExternalKind::Func {
                        exports.insert(export.index, export.name);
                    }
                }
            }
            Payload::CodeSectionEntry(body) => bodies.push(body),
            // A snapshot leaves an empty one.
            Payload::DataSection(section) if section.count() == 0 => {}
            Payload::Version { .. }
            | Payload::TypeSection(_)
            | Payload::FunctionSection(_)
            | Payload::TableSection(_)
            | Payload::CodeSectionStart { .. }
            | Payload::CustomSection(_)
            | Payload::End(_) => {}
            _ => return Ok(false),
        }
    }
    let mut named = exports.len() == slots && bodies.len() == slots;
    for (number, body) in (0_u32..).zip(&bodies) {
        let name = exports.get(&number).and_then(|name| name.parse().ok());
        named &= match name {
            Some(name) => jumps(body, name)?,
            None => false,
        };
    }
    Ok(named)
}

/// Whether a function calls what is in a place of the only table, with all that
/// it is given.
fn jumps(body: &FunctionBody<'_>, place: i32) -> Result<bool, Untied> {
    let mut operators = body.get_operators_reader()?;
    let mut given = 0;
    loop {
        match operators.read()? {
            Operator::LocalGet { local_index } if local_index == given => given += 1,
            Operator::I32Const { value } if value == place => break,
            _ => return Ok(false),
        }
    }
    // That there is nothing left of what it is given, validation says.
    let calls = matches!(
        operators.read()?,
        Operator::CallIndirect { table_index: 0, .. }
    );
    Ok(calls && matches!(operators.read()?, Operator::End) && operators.eof())
}

/// Whether so many functions, imported as `N`, are put in place `N` of a table
/// that is imported, and nothing else happens. What it imports besides, such as
/// what it began the main module with before a snapshot, it may not use.
pub(super) fn is_fixup(module: &[u8], slots: usize) -> Result<bool, Untied> {
    let (mut imports, mut filled) = (Vec::new(), Vec::new());
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    if let TypeRef::Func(_) = import.ty {
                        imports.push(import.name);
                    }
                }
            }
            Payload::ElementSection(section) => {
                for element in section {
                    filled.push(in_order(element?)?);
                }
            }
            // A snapshot leaves an empty one.
            Payload::DataSection(section) if section.count() == 0 => {}
            Payload::Version { .. }
            | Payload::TypeSection(_)
            | Payload::CustomSection(_)
            | Payload::End(_) => {}
            _ => return Ok(false),
        }
    }
    let numbered = (0..).zip(&imports);
    let numbered = numbered.filter(|(number, name)| name.parse::<usize>() == Ok(*number));
    Ok(numbered.count() == slots && filled == [Some(slots)])
}

/// How many functions, which are its module's first in their order, are put in
/// the first places of a table.
fn in_order(element: Element<'_>) -> Result<Option<usize>, Untied> {
    let ElementKind::Active { offset_expr, .. } = element.kind else {
        return Ok(None);
    };
    let ElementItems::Functions(functions) = element.items else {
        return Ok(None);
    };
    let functions: Vec<u32> = functions.into_iter().collect::<Result<_, _>>()?;
    let in_order = (0..)
        .zip(&functions)
        .all(|(number, function)| *function == number);
    Ok((in_order && is_zero(&offset_expr)?).then_some(functions.len()))
}

fn is_zero(expression: &ConstExpr<'_>) -> Result<bool, Untied> {
    let mut operators = expression.get_operators_reader();
    let zero = matches!(operators.read()?, Operator::I32Const { value: 0 });
    Ok(zero && matches!(operators.read()?, Operator::End))
}
