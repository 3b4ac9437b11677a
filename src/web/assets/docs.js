// Sends a call from the page /docs and shows the answer as text. The token stays on the page.
"use strict";
for (const form of document.querySelectorAll("form.try")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const shown = form.querySelector("pre");
    const token = document.getElementById("token").value.trim();
    const body = form.elements.body ? form.elements.body.value : "";
    const request = { method: form.dataset.method, headers: {} };
    if (token) request.headers.Authorization = "Bearer " + token;
    if (body) {
      request.body = body;
      const media = form.dataset.media || "application/json";
      // Where lines of JSON are taken, a list of them is too.
      const list = media.endsWith("ndjson") && /^\s*\[/.test(body);
      request.headers["Content-Type"] = list ? "application/json" : media;
    }
    shown.hidden = false;
    shown.textContent = "…";
    try {
      const answer = await fetch(form.elements.path.value, request);
      let text = (await answer.text()).slice(0, 100000);
      try { text = JSON.stringify(JSON.parse(text), null, 2); } catch (notJson) { /* shown as it is */ }
      shown.textContent = answer.status + " " + answer.statusText + "\n" + text;
    } catch (failure) {
      shown.textContent = String(failure);
    }
  });
}
