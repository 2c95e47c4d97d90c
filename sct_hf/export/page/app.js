// The page: an image in, tags and heatmaps out.
import { Tagger, readImage } from "./tagger.js";
import { drawHeatmap } from "./heatmap.js";

const UNSURE = 0.1; // distance of a score from its threshold
const at = (id) => document.getElementById(id);

let tagger; // once it is loaded
let shown; // scores and maps of the image on the page
let turn = 0; // of the newest image: an older one that is read later is dropped

/** Say what went wrong, or nothing. */
function say(text = "") {
  at("error").textContent = text;
  at("error").hidden = !text;
}

/** Read an image file, tag it and show it. */
async function open(file) {
  const mine = ++turn;
  say();
  at("status").textContent = "Tagging…";
  let image;
  try {
    image = await readImage(file);
  } catch {
    return mine === turn && clear("This file cannot be read as an image. Give a JPEG, PNG, WebP or AVIF file.");
  }
  if (mine !== turn) return;
  await show(file);
  const start = performance.now();
  try {
    const found = await tagger.tag(image);
    if (mine !== turn) return;
    shown = { ...found, image, label: null };
    list(Math.round(performance.now() - start));
  } catch (error) {
    if (mine === turn) clear(`The image cannot be tagged. ${error.message}`);
  }
}

/** Take away image and tags. */
function clear(text) {
  shown = undefined;
  for (const id of ["picture", "result"]) at(id).hidden = true;
  at("invitation").hidden = at("labels").hidden = false;
  say(text);
}

/** Put the image on the page, and let the browser paint it. */
async function show(file) {
  URL.revokeObjectURL(at("image").src);
  at("image").src = URL.createObjectURL(file);
  at("picture").hidden = at("result").hidden = false;
  at("invitation").hidden = at("labels").hidden = true;
  drawHeatmap(at("heat"), null);
  at("picture").classList.remove("seen");
  await at("image").decode().catch(() => {});
  await new Promise((done) => setTimeout(done));
}

/** List all labels: those at or above their threshold, then the others, each by falling score. */
function list(milliseconds) {
  const { labels, thresholds, profiles } = tagger.about;
  const least = profiles[at("profile").value] ?? thresholds; // null: the label cannot keep what the profile promises
  const order = labels.map((_, label) => label).sort((a, b) => shown.scores[b] - shown.scores[a] || a - b);
  const isTag = (label) => least[label] !== null && shown.scores[label] >= Math.fround(least[label]);
  const tags = order.filter(isTag);
  const others = order.filter((label) => !isTag(label));
  at("tags").replaceChildren(...tags.map((label) => row(label, least[label])));
  at("others").replaceChildren(...others.map((label) => row(label, least[label])));
  at("rest").hidden = !others.length;
  at("rest").firstElementChild.textContent = `${count(others.length, "label")} below the threshold`;
  const time = milliseconds === undefined ? "" : ` in ${milliseconds} ms`;
  at("status").textContent = `${tags.length ? count(tags.length, "tag") : "No label reaches its threshold"}${time}.`;
  mark();
}

const count = (number, thing) => `${number} ${thing}${number === 1 ? "" : "s"}`;

/** One label: a button that shows its heatmap. */
function row(label, threshold) {
  const score = shown.scores[label];
  const unsure = threshold !== null && Math.abs(score - threshold) < UNSURE && score >= threshold / 2;
  const button = document.createElement("button");
  Object.assign(button, { type: "button", disabled: !shown.maps.length });
  button.dataset.label = label;
  const title = text("span", "title", "");
  title.append(text("span", "name", tagger.about.labels[label]), unsure ? " " : "", unsure ? text("span", "unsure", "unsure") : "");
  button.append(title, text("span", "score", `${(100 * score).toFixed(0)} %`), bar(score, threshold));
  button.addEventListener("click", () => {
    shown.label = shown.label === label ? null : label;
    mark();
  });
  const item = document.createElement("li");
  item.append(button);
  return item;
}

function text(tag, kind, content) {
  const element = document.createElement(tag);
  Object.assign(element, { className: kind, textContent: content });
  return element;
}

/** A score as a bar with a mark at the threshold. The number beside it says the same. */
function bar(score, threshold) {
  const draw = (tag, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };
  const picture = draw("svg", { class: "bar", "aria-hidden": "true" });
  picture.append(draw("rect", { class: "track", y: 2, width: "100%", height: 6, rx: 3 }));
  picture.append(draw("rect", { class: "fill", y: 2, width: `${100 * score}%`, height: 6, rx: 3 }));
  const x = `${100 * threshold}%`;
  if (threshold !== null) picture.append(draw("line", { class: "mark", x1: x, x2: x, y1: 0, y2: 10 }));
  return picture;
}

/** Show the heatmap of the chosen label, or none. */
function mark() {
  const { label, maps, rows, columns, image } = shown;
  for (const button of document.querySelectorAll("[data-label]")) {
    if (maps.length) button.setAttribute("aria-pressed", Number(button.dataset.label) === label);
  }
  at("picture").classList.toggle("seen", label !== null);
  drawHeatmap(at("heat"), label === null ? null : maps[label], rows, columns, image.width, image.height);
  const name = label === null ? "" : `, with the places of “${tagger.about.labels[label]}” marked`;
  at("image").alt = `The image to tag${name}`;
}

/** Take a photo with the camera. */
async function photograph() {
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    const denied = error.name === "NotAllowedError";
    return say(denied ? "The camera is not allowed on this page. Allow it in the browser's settings." : "No camera was found.");
  }
  const video = at("video");
  video.srcObject = stream;
  at("viewfinder").showModal();
  at("viewfinder").addEventListener("close", () => stream.getTracks().forEach((track) => track.stop()), { once: true });
  await video.play();
}

function take() {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: at("video").videoWidth, height: at("video").videoHeight });
  canvas.getContext("2d").drawImage(at("video"), 0, 0);
  at("viewfinder").close();
  canvas.toBlob((blob) => (blob ? open(blob) : say("The photo could not be taken.")), "image/png");
}

/** Open the first image of what was dropped or pasted. */
function openFirst(files) {
  const file = [...files].find(({ type }) => type.startsWith("image/")) ?? files[0];
  if (file) open(file);
}

function listen() {
  at("choose").addEventListener("click", () => at("file").click());
  at("file").addEventListener("change", () => {
    openFirst(at("file").files);
    at("file").value = ""; // so that the same file may be chosen again
  });
  at("camera").addEventListener("click", photograph);
  at("take").addEventListener("click", take);
  at("cancel").addEventListener("click", () => at("viewfinder").close());
  at("profile").addEventListener("change", () => shown && list());
  document.addEventListener("paste", (event) => openFirst(event.clipboardData.files));
  for (const kind of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      at("place").classList.toggle("over", kind === "dragover");
      if (kind === "drop") openFirst(event.dataTransfer.files);
    });
  }
}

async function start() {
  try {
    tagger = await Tagger.load("./", (loaded, total) => {
      if (total) at("loaded").value = loaded / total;
      at("amount").textContent = `${(loaded / 1e6).toFixed(1)} MB`;
    });
  } catch (error) {
    at("loading").hidden = true;
    return say(`The model cannot be loaded. ${error.message}`);
  }
  const { labels, profile, profiles } = tagger.about;
  at("profile").replaceChildren(...Object.keys(profiles).map((name) => new Option(name, name, false, name === profile)));
  at("choice").hidden = Object.keys(profiles).length < 2;
  at("camera").hidden = !navigator.mediaDevices;
  at("hint").hidden = !tagger.session.outputNames.includes("heatmap");
  at("loading").hidden = true;
  at("labels").textContent = `It knows ${count(labels.length, "label")}: ${labels.join(", ")}.`;
  for (const id of ["invitation", "buttons", "labels"]) at(id).hidden = false;
  listen();
}

start();
