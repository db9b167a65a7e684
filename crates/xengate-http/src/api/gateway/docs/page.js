// Swagger UI, with its tags in groups (`x-tagGroups`) and a search for operations.
"use strict";

// More than this nobody reads: another word narrows it down.
const MOST_FOUND = 50;

// So many groups are open at first.
const OPEN = 2;

const operations = (_, system) => {
  const { React, Im } = system;
  const element = React.createElement;

  // One operation, which opens where it stands.
  const operation = (props, tag, op) => {
    const OperationContainer = props.getComponent("OperationContainer", true);
    const [path, method] = [op.get("path"), op.get("method")];
    return element(OperationContainer, {
      key: `${method} ${path}`, op, path, method, tag,
      specPath: Im.List(["paths", path, method]),
    });
  };

  const tagged = (props, tag, of) => {
    const { getComponent, specSelectors, oas3Selectors, layoutSelectors, layoutActions, getConfigs } = props;
    const OperationTag = getComponent("OperationTag");
    const given = { oas3Selectors, layoutSelectors, layoutActions, getConfigs, getComponent };
    // Elements of what is closed are not even made.
    const open = layoutSelectors.isShown(["operations-tag", tag], getConfigs().docExpansion !== "none");
    const shown = open ? of.get("operations").map(op => operation(props, tag, op)).toArray() : [];
    return element(
      OperationTag, { key: tag, tag, tagObj: of, specUrl: specSelectors.url(), ...given },
      element("div", { className: "operation-tag-content" }, shown),
    );
  };

  const Group = ({ name, own, tags, above, open }) => {
    const [shown, show] = React.useState(open);
    return element(
      "details", { className: "tag-group", open: shown, onToggle: event => show(event.currentTarget.open) },
      element("summary", null, name),
      shown ? own.map(tag => tagged(above, tag, tags.get(tag))).toArray() : null,
    );
  };

  // A link to an operation opens its group.
  const linked = decodeURIComponent(window.location.hash).split("/")[1];

  const groups = (props, tags) => {
    const named = props.specSelectors.specJson().get("x-tagGroups", Im.List());
    return named.map((group, place) => {
      const own = group.get("tags").filter(tag => tags.has(tag));
      const name = group.get("name");
      const open = place < OPEN || own.includes(linked);
      return own.isEmpty() ? null : element(Group, { key: name, name, own, tags, above: props, open });
    }).toArray();
  };

  const found = (props, tags, words) => {
    const fits = op => {
      const of = op.get("operation");
      const text = [op.get("method"), op.get("path"), of.get("operationId"), of.get("summary")];
      const low = text.join(" ").toLowerCase();
      return words.every(word => low.includes(word));
    };
    const all = [];
    tags.forEach((of, tag) => of.get("operations").forEach(op => { if (fits(op)) all.push([tag, op]); }));
    const shown = all.slice(0, MOST_FOUND).map(([tag, op]) => operation(props, tag, op));
    const count = all.length > MOST_FOUND ? `${all.length} found, the first ${MOST_FOUND} shown` : `${all.length} found`;
    return [element("p", { key: "count", className: "operation-count" }, count), ...shown];
  };

  return props => {
    const [text, search] = React.useState("");
    const tags = props.specSelectors.taggedOperations();
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    return element(
      "div", null,
      element("input", {
        className: "operation-search", type: "search", value: text, "aria-label": "Search operations",
        placeholder: "Search operations: startVm, /vdis, snapshot …", onChange: event => search(event.target.value),
      }),
      words.length ? found(props, tags, words) : groups(props, tags),
    );
  };
};

// The document is JSON; Swagger UI would read it as YAML, which takes seconds.
const parseToJson = (_, { specActions }) => text => specActions.updateJsonSpec(JSON.parse(text));

SwaggerUIBundle({
  // Relative, so that it holds behind a proxy that puts the gateway under a path.
  url: "../openapi-3.0.json?brief=true",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayOperationId: true,
  docExpansion: "none",
  defaultModelsExpandDepth: -1,
  defaultModelExpandDepth: 2,
  showExtensions: true,
  // Else the page would ask a validator elsewhere for a badge.
  validatorUrl: "none",
  plugins: [{ wrapComponents: { operations }, statePlugins: { spec: { wrapActions: { parseToJson } } } }],
});
