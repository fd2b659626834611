/* Starts Swagger UI on the page of the API documentation, in a layout of ours: the page around it has the title and
   the main landmark already. Without scripts the page links to the document itself. */
"use strict";

/* Swagger UI hands the browser HTML as text, some of it cleaned by DOMPurify before, which the page's policy would refuse.
   Only HTML: what comes in this way runs no scripts, since the policy allows none inline. */
window.trustedTypes?.createPolicy("default", { createHTML: (html) => html });

function readerLayout(system) {
  const h = system.React.createElement;

  function ReaderLayout({ getComponent, specSelectors }) {
    const status = specSelectors.loadingStatus();
    if (status === "failed" || status === "failedConfig") {
      return h("p", { role: "alert" }, "The API document could not be loaded. Reload the page to try again.");
    }
    if (!specSelectors.specStr()) {
      return h("p", { role: "status" }, "Loading the API document");
    }
    const part = (name) => h(getComponent(name, true));
    return h(
      "div",
      { className: "swagger-ui" },
      h("div", { hidden: true }, h(getComponent("SvgAssets"))),
      part("errors"),
      h(
        "div",
        { className: "reader__bar" },
        h("label", { className: "reader__filter" }, h("span", null, "Show sections named"), part("FilterContainer")),
        part("AuthorizeBtnContainer"),
      ),
      h("h2", { className: "visually-hidden" }, "Operations"),
      part("operations"),
    );
  }

  // A link inside the button that opens an operation would be a control within a control.
  const DeepLink = ({ text }) => h("span", null, text);

  return { components: { ReaderLayout, DeepLink } };
}

/* Names what Swagger UI leaves without one. */
function nameControls(root) {
  for (const select of root.querySelectorAll("tr[data-param-name] select:not([aria-label])")) {
    select.setAttribute("aria-label", select.closest("tr").dataset.paramName);
  }
  for (const table of root.querySelectorAll("table[role='region']")) {
    table.removeAttribute("role");
  }
  for (const editor of root.querySelectorAll(".body-param__text:not([aria-label])")) {
    editor.setAttribute("aria-label", "Request body");
  }
  for (const button of root.querySelectorAll(".close-modal:not([aria-label])")) {
    button.setAttribute("aria-label", "Close");
  }
}

const reader = document.getElementById("api-reader");

new MutationObserver(() => nameControls(reader)).observe(reader, { childList: true, subtree: true });

window.SwaggerUIBundle({
  url: reader.dataset.document,
  domNode: reader,
  plugins: [readerLayout],
  layout: "ReaderLayout",
  deepLinking: true,
  defaultModelsExpandDepth: -1,
  displayRequestDuration: true,
  filter: true,
  syntaxHighlight: false,
  validatorUrl: null,
});
