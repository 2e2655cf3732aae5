// Renders openapi.json as a page: operations by tag, parameters, bodies, responses, a curl line, then the schemas.
// Text goes in by textContent only, so nothing in the document can become markup.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete"];

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  for (const child of children.flat()) if (child !== null) element.append(child);
  return element;
}

function paragraphs(text) {
  return (text || "").split(/\n\s*\n/).filter(Boolean).map((part) => make("p", {}, inline(part)));
}

// `code` is the only markup of descriptions that is shown as such.
function inline(text) {
  return text.split("`").map((part, i) => (i % 2 ? make("code", {}, part) : part));
}

const last = (reference) => reference.split("/").pop();

function resolve(api, value) {
  if (!value || !value.$ref) return value;
  return value.$ref.slice(2).split("/").reduce((at, key) => at[key], api);
}

// A schema in one line; references become links.
function type(schema) {
  if (!schema) return ["any"];
  if (schema.$ref) return [make("a", { href: "#schema-" + last(schema.$ref) }, last(schema.$ref))];
  const choices = schema.oneOf || schema.anyOf || schema.allOf;
  if (choices && !schema.properties) return choices.flatMap((choice, i) => [i ? " or " : "", ...type(choice)]);
  if (schema.enum) return [schema.enum.map((value) => JSON.stringify(value)).join(" | ")];
  const name = Array.isArray(schema.type) ? schema.type.join(" or ") : schema.type || "any";
  if (name.startsWith("array")) return ["[", ...type(schema.items), "]", bounds(schema)];
  if (schema.additionalProperties && schema.additionalProperties !== true) return ["{name: ", ...type(schema.additionalProperties), "}"];
  return [name + (schema.format ? " (" + schema.format + ")" : "") + bounds(schema)];
}

function bounds(schema) {
  const low = schema.minimum ?? schema.minLength ?? schema.minItems;
  const high = schema.maximum ?? schema.maxLength ?? schema.maxItems;
  const range = low === undefined && high === undefined ? "" : " " + (low ?? "") + "…" + (high ?? "");
  return range + (schema.default === undefined ? "" : " = " + JSON.stringify(schema.default));
}

const row = (...cells) => make("tr", {}, cells.map((cell) => make("td", {}, cell)));

function parameterRow(parameter) {
  const schema = parameter.schema || Object.values(parameter.content)[0].schema;
  const kind = (parameter.content ? ["JSON "] : []).concat(type(schema), parameter.in === "path" ? [] : [", " + parameter.in]);
  return row(parameter.name, kind, inline(parameter.description || ""));
}

function curl(path, method, operation) {
  const words = ["curl"];
  if (method !== "get") words.push("-X " + method.toUpperCase());
  if (operation.security && operation.security.length) words.push("-H 'Authorization: Bearer $KEY'");
  const content = operation.requestBody && operation.requestBody.content;
  if (content && content["image/*"]) words.push("-H 'Content-Type: image/jpeg' --data-binary @photo.jpg");
  else if (content) words.push("--json '{…}'");
  const example = path.replace("{product_id}", "dress-1").replace("{image_id}", "front");
  return words.concat(location.origin + example).join(" ");
}

function operationArticle(api, path, method, operation) {
  const scopes = ((operation.security || [])[0] || {}).key;
  const article = make("article", { id: operation.operationId },
    make("h3", {}, make("span", { class: "method " + method }, method.toUpperCase()), " " + path),
    make("p", {}, make("strong", {}, operation.summary || "")), paragraphs(operation.description),
    scopes ? make("p", { class: "scopes" }, "Scope: " + scopes.join(" or ")) : null);
  if ((operation.parameters || []).length) {
    article.append(make("h4", {}, "Parameters"), make("table", {}, operation.parameters.map(parameterRow)));
  }
  if (operation.requestBody) {
    const bodies = Object.entries(operation.requestBody.content);
    article.append(make("h4", {}, "Body"), make("table", {}, bodies.map(([kind, media]) => row(kind, type(media.schema), ""))));
  }
  const responses = Object.entries(operation.responses).map(([status, response]) => {
    const { description, content } = resolve(api, response);
    const kinds = Object.entries(content || {}).flatMap(([kind, media], i) => [i ? ", " : "", kind + " ", ...(media.schema.$ref ? type(media.schema) : [])]);
    return row(status, kinds, inline(description || ""));
  });
  article.append(make("details", {}, make("summary", {}, "Responses"), make("table", {}, responses)),
    make("h4", {}, "Example"), make("pre", {}, curl(path, method, operation)));
  return article;
}

function schemaArticle(name, schema) {
  const required = schema.required || [];
  const properties = Object.entries({ ...schema.properties, ...schema.patternProperties }).concat(
    (schema.allOf || []).flatMap((part) => Object.entries(part.properties || {})));
  const rows = properties.map(([key, property]) =>
    row(key + (required.includes(key) ? " *" : ""), type(property), inline(property.description || "")));
  return make("article", { id: "schema-" + name }, make("h3", {}, name), paragraphs(schema.description),
    rows.length ? make("table", {}, rows) : make("p", {}, type(schema)),
    schema.example ? make("pre", {}, JSON.stringify(schema.example, null, 2)) : null);
}

function show(api) {
  const content = document.getElementById("content");
  const contents = document.getElementById("contents");
  content.replaceChildren(make("h1", {}, api.info.title + " " + api.info.version), ...paragraphs(api.info.description),
    make("p", {}, make("a", { href: "openapi.json" }, "openapi.json")));
  for (const tag of api.tags) {
    content.append(make("h2", {}, tag.name), ...paragraphs(tag.description));
    contents.append(make("h2", {}, tag.name));
    for (const [path, item] of Object.entries(api.paths)) {
      for (const method of METHODS.filter((m) => item[m] && item[m].tags.includes(tag.name))) {
        content.append(operationArticle(api, path, method, item[method]));
        contents.append(make("a", { href: "#" + item[method].operationId },
          make("span", { class: "method " + method }, method.toUpperCase()), " " + (item[method].summary || path)));
      }
    }
  }
  content.append(make("h2", {}, "schemas"));
  contents.append(make("h2", {}, "schemas"));
  for (const [name, schema] of Object.entries(api.components.schemas)) {
    content.append(schemaArticle(name, schema));
    contents.append(make("a", { href: "#schema-" + name }, name));
  }
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

fetch("openapi.json")
  .then((response) => response.json())
  .then(show)
  .catch((error) => document.getElementById("content").replaceChildren("openapi.json could not be read: " + error));
