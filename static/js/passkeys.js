/* Passkeys. A form with data-passkey ("get" or "create") asks its data-options for what the device needs, lets the
   browser talk to the device, and is sent with the answer in its fields. Without scripts, or where the browser knows no
   passkeys, such a form stays hidden. */
"use strict";

const IN_WORDS = {
  NotAllowedError: "Nothing was confirmed, or it took too long. Try again.",
  InvalidStateError: "This device has a passkey for your account already.",
  NotSupportedError: "This device can't make a passkey for this site.",
  SecurityError: "Passkeys work only at the site's own address, over https.",
};

const toBytes = (text) =>
  Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (char) => char.charCodeAt(0));

const toText = (bytes) =>
  btoa(String.fromCharCode(...new Uint8Array(bytes)))
    .replace(/\+/g, "-")
    .replace(/\//g, "_")
    .replace(/=+$/, "");

const named = (list) => (list || []).map((one) => ({ ...one, id: toBytes(one.id) }));

/* The options as the browser wants them: bytes where JSON has text. */
function prepared(options) {
  const ready = { ...options, challenge: toBytes(options.challenge) };
  if (options.user) ready.user = { ...options.user, id: toBytes(options.user.id) };
  if (options.excludeCredentials) ready.excludeCredentials = named(options.excludeCredentials);
  if (options.allowCredentials) ready.allowCredentials = named(options.allowCredentials);
  return ready;
}

/* What the device answered, as JSON: written by hand, as some password managers break `toJSON`. */
function written(credential) {
  const { response } = credential;
  const told = { clientDataJSON: toText(response.clientDataJSON) };
  if (response.attestationObject) {
    told.attestationObject = toText(response.attestationObject);
    told.transports = response.getTransports ? response.getTransports() : [];
  } else {
    told.authenticatorData = toText(response.authenticatorData);
    told.signature = toText(response.signature);
    if (response.userHandle) told.userHandle = toText(response.userHandle);
  }
  return JSON.stringify({ id: credential.id, rawId: toText(credential.rawId), type: credential.type, response: told });
}

async function asked(address) {
  const answer = await fetch(address, {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "application/json" },
    body: "{}",
  });
  const body = await answer.json();
  if (body.success) return body.data;
  // A session that is over, or no longer fresh, or a sign-in begun too long ago: the page itself leads on.
  if (answer.status === 401 || answer.status === 403) location.reload();
  throw new Error(body.error.message);
}

async function confirm(form) {
  const { challenge_token: token, options } = await asked(form.dataset.options);
  const publicKey = prepared(options);
  const credential =
    form.dataset.passkey === "create"
      ? await navigator.credentials.create({ publicKey })
      : await navigator.credentials.get({ publicKey });
  form.elements.challenge_token.value = token;
  form.elements.credential.value = written(credential);
  form.submit();
}

async function onSubmit(event) {
  event.preventDefault();
  const form = event.currentTarget;
  const button = form.querySelector("button[type=submit]");
  const fault = form.querySelector("[data-passkey-fault]");
  fault.hidden = button.disabled = true;
  try {
    await confirm(form);
  } catch (error) {
    fault.querySelector("span").textContent = IN_WORDS[error.name] || error.message;
    fault.hidden = false;
  }
  button.disabled = false;
}

if (window.PublicKeyCredential) {
  for (const notice of document.querySelectorAll("[data-passkey-missing]")) notice.hidden = true;
  for (const form of document.querySelectorAll("form[data-passkey]")) {
    form.hidden = false;
    form.addEventListener("submit", onSubmit);
  }
}
