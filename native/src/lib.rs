//! The messages between Envoy and the sidecar, read and written without an object per field.
//!
//! Rule: the same values and the same refusals as `extproc/worker/wire.py`, which takes its place where nothing was
//! built. No unsafe code: what comes from a network is read by prost.

mod messages;

use messages::*;
use prost::Message;
use prost_types::{Struct, Value, value::Kind};
use pyo3::exceptions::{PyUnicodeEncodeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyString};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

const ATTRIBUTES: &str = "envoy.filters.http.ext_proc";
/// How many names of headers are kept as objects, and how long they may be.
const KEPT_NAMES: usize = 512;
const KEPT_LENGTH: usize = 64;

static NAMES: Mutex<Option<HashMap<String, Py<PyString>>>> = Mutex::new(None);

/// `(phase, headers, body, end of stream, attributes)`
type Read<'py> = (
    Option<Bound<'py, PyString>>,
    Option<Bound<'py, PyDict>>,
    Option<Bound<'py, PyBytes>>,
    bool,
    Bound<'py, PyDict>,
);

/// A message of Envoy's. The phase is that of `wire.phase_of`, None where it is of an unknown kind. Raises `ValueError`:
/// it is not a message.
#[pyfunction]
fn read<'py>(py: Python<'py>, message: &[u8]) -> PyResult<Read<'py>> {
    let read = ProcessingRequest::decode(message)
        .map_err(|error| PyValueError::new_err(error.to_string()))?;
    let attributes = attributes(py, &read.attributes)?;
    let head =
        |head: &HttpHeaders| Ok::<_, PyErr>((Some(headers(py, head)?), None, head.end_of_stream));
    let body = |it: &HttpBody| (None, Some(PyBytes::new(py, &it.body)), it.end_of_stream);
    let (phase, (headers, body, end)) = match &read.request {
        Some(Request::RequestHeaders(it)) => ("request_headers", head(it)?),
        Some(Request::ResponseHeaders(it)) => ("response_headers", head(it)?),
        Some(Request::RequestBody(it)) => ("request_body", body(it)),
        Some(Request::ResponseBody(it)) => ("response_body", body(it)),
        Some(Request::RequestTrailers(_)) => ("request_trailers", (None, None, false)),
        Some(Request::ResponseTrailers(_)) => ("response_trailers", (None, None, false)),
        None => return Ok((None, None, None, false, attributes)),
    };
    Ok((
        Some(PyString::intern(py, phase)),
        headers,
        body,
        end,
        attributes,
    ))
}

/// Name → value; values of a name that comes again are joined.
fn headers<'py>(py: Python<'py>, head: &HttpHeaders) -> PyResult<Bound<'py, PyDict>> {
    let made = PyDict::new(py);
    let Some(listed) = &head.headers else {
        return Ok(made);
    };
    let mut names = NAMES
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let names = names.get_or_insert_default();
    for header in &listed.headers {
        // Older proxies fill `value`.
        let raw = if header.raw_value.is_empty() {
            header.value.as_bytes()
        } else {
            &header.raw_value
        };
        made.set_item(kept(py, names, &header.key), latin1(raw).as_ref())?;
    }
    if made.len() < listed.headers.len() {
        let mut joined: HashMap<&str, String> = HashMap::new();
        for header in &listed.headers {
            let raw = if header.raw_value.is_empty() {
                header.value.as_bytes()
            } else {
                &header.raw_value
            };
            let text = latin1(raw);
            joined
                .entry(&header.key)
                .and_modify(|all| {
                    all.push_str(", ");
                    all.push_str(&text)
                })
                .or_insert(text.into());
        }
        for (name, value) in joined {
            made.set_item(name, value)?;
        }
    }
    Ok(made)
}

/// A header's name as an object that is there already, with its hash.
fn kept<'py>(
    py: Python<'py>,
    names: &mut HashMap<String, Py<PyString>>,
    name: &str,
) -> Bound<'py, PyString> {
    if let Some(known) = names.get(name) {
        return known.bind(py).clone();
    }
    let made = PyString::intern(py, name);
    if names.len() < KEPT_NAMES && name.len() <= KEPT_LENGTH {
        names.insert(name.to_owned(), made.clone().unbind());
    }
    made
}

fn attributes<'py>(
    py: Python<'py>,
    sent: &HashMap<String, Struct>,
) -> PyResult<Bound<'py, PyDict>> {
    let made = PyDict::new(py);
    if let Some(sent) = sent.get(ATTRIBUTES) {
        for (name, value) in &sent.fields {
            let text = if let Some(Kind::StringValue(text)) = &value.kind {
                text
            } else {
                ""
            };
            made.set_item(PyString::intern(py, name), text)?;
        }
    }
    Ok(made)
}

fn latin1(raw: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(raw) {
        Ok(text) if raw.is_ascii() => Cow::Borrowed(text),
        _ => Cow::Owned(raw.iter().map(|&byte| byte as char).collect()),
    }
}

/// The bytes of a header's value. Raises `UnicodeEncodeError`: it has characters that no header can have.
fn raw(value: &Bound<'_, PyString>) -> PyResult<Vec<u8>> {
    let text = value.to_str()?;
    if text.is_ascii() {
        return Ok(text.as_bytes().to_vec());
    }
    let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c as u32).ok()).collect();
    bytes.ok_or_else(|| {
        let arguments = (
            "latin-1",
            text.to_owned(),
            0,
            1,
            "ordinal not in range(256)",
        );
        PyUnicodeEncodeError::new_err(arguments)
    })
}

/// The answer `Forward` to the message of a phase. `modes`: those of request and response bodies as protobuf's numbers,
/// None where nothing is said of them; `metadata`: namespace → name → text, truth or number.
#[pyfunction]
#[pyo3(signature = (phase, set_headers, remove_headers, body, ends, modes, reroute, replaces, metadata))]
#[allow(clippy::too_many_arguments)]
fn forward<'py>(
    py: Python<'py>,
    phase: &str,
    set_headers: &Bound<'py, PyDict>,
    remove_headers: Vec<String>,
    body: Option<&[u8]>,
    ends: Option<bool>,
    modes: Option<(i32, i32)>,
    reroute: bool,
    replaces: bool,
    metadata: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyBytes>> {
    if let Some(trailers) = match phase {
        "request_trailers" => Some(Response::RequestTrailers(Empty {})),
        "response_trailers" => Some(Response::ResponseTrailers(Empty {})),
        _ => None,
    } {
        return said(
            py,
            ProcessingResponse {
                response: Some(trailers),
                dynamic_metadata: None,
                mode_override: None,
            },
        );
    }
    let mut listed = Vec::with_capacity(set_headers.len());
    for (name, value) in set_headers {
        let header = HeaderValue {
            key: name.cast::<PyString>()?.to_str()?.to_owned(),
            value: String::new(),
            raw_value: raw(value.cast::<PyString>()?)?,
        };
        listed.push(HeaderValueOption {
            header: Some(header),
            append_action: 2,
        });
    }
    let common = CommonResponse {
        status: replaces.into(),
        header_mutation: (!listed.is_empty() || !remove_headers.is_empty()).then_some(
            HeaderMutation {
                set_headers: listed,
                remove_headers,
            },
        ),
        body_mutation: body.map(|body| changed(body, ends)),
        clear_route_cache: reroute,
    };
    let answer = PhaseResponse {
        response: Some(common),
    };
    let response = match phase {
        "request_headers" => Response::RequestHeaders(answer),
        "response_headers" => Response::ResponseHeaders(answer),
        "request_body" => Response::RequestBody(answer),
        "response_body" => Response::ResponseBody(answer),
        _ => return Err(PyValueError::new_err("an unknown phase")),
    };
    let mut spaces = BTreeMap::new();
    for (namespace, values) in metadata {
        let values = values.cast::<PyDict>()?;
        if !values.is_empty() {
            let fields = values
                .iter()
                .map(|(name, it)| Ok((name.extract()?, value(&it)?)))
                .collect::<PyResult<_>>()?;
            spaces.insert(
                namespace.extract()?,
                Value {
                    kind: Some(Kind::StructValue(Struct { fields })),
                },
            );
        }
    }
    let mode_override = modes.map(|(request, response)| ProcessingMode {
        request_header_mode: 1,
        response_header_mode: 1,
        request_body_mode: request,
        response_body_mode: response,
        response_trailer_mode: (response == 4).into(),
    });
    let dynamic_metadata = (!spaces.is_empty()).then_some(Struct { fields: spaces });
    said(
        py,
        ProcessingResponse {
            response: Some(response),
            dynamic_metadata,
            mode_override,
        },
    )
}

fn value(it: &Bound<'_, PyAny>) -> PyResult<Value> {
    let kind = if let Ok(text) = it.cast::<PyString>() {
        Kind::StringValue(text.to_str()?.to_owned())
    } else if let Ok(truth) = it.cast::<PyBool>() {
        Kind::BoolValue(truth.is_true())
    } else {
        Kind::NumberValue(it.extract()?)
    };
    Ok(Value { kind: Some(kind) })
}

/// A piece of a body, by far the most answers. `ends` as in `Forward`.
#[pyfunction]
fn piece<'py>(py: Python<'py>, body: &[u8], ends: Option<bool>) -> PyResult<Bound<'py, PyBytes>> {
    let common = CommonResponse {
        status: 0,
        header_mutation: None,
        body_mutation: Some(changed(body, ends)),
        clear_route_cache: false,
    };
    let response = Some(Response::ResponseBody(PhaseResponse {
        response: Some(common),
    }));
    said(
        py,
        ProcessingResponse {
            response,
            dynamic_metadata: None,
            mode_override: None,
        },
    )
}

fn changed(body: &[u8], ends: Option<bool>) -> BodyMutation {
    let body = body.to_vec();
    BodyMutation {
        mutation: Some(match ends {
            None => Mutation::Body(body),
            Some(end_of_stream) => Mutation::Streamed(StreamedBodyResponse {
                body,
                end_of_stream,
            }),
        }),
    }
}

fn said(py: Python<'_>, response: ProcessingResponse) -> PyResult<Bound<'_, PyBytes>> {
    PyBytes::new_with(py, response.encoded_len(), |mut place| {
        response
            .encode(&mut place)
            .map_err(|error| PyValueError::new_err(error.to_string()))
    })
}

#[pymodule]
fn ai_proxy_native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_function(wrap_pyfunction!(read, module)?)?;
    module.add_function(wrap_pyfunction!(forward, module)?)?;
    module.add_function(wrap_pyfunction!(piece, module)?)
}
