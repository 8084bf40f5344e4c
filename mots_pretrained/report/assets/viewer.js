"use strict";
// Shows the scans embedded in the page by NiiVue; names reach the page as text only.
const data = JSON.parse(document.getElementById("data").textContent);
const find = (id) => document.getElementById(id);
const VIEWS = { "three planes": 3, axial: 0, coronal: 1, sagittal: 2, "3D": 4 }; // NiiVue's numbers
const THROUGH = { axial: 2, coronal: 1, sagittal: 0 }; // axis of the voxel that a plane cuts
const state = { scan: null, view: "three planes", hidden: new Set(), opacity: 0.5 };
let viewer = null;
let drawn = Promise.resolve(); // a scan's pictures come after those of the scan before

function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function bytes(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0)).buffer;
}

function channel(colour, at) {
  return parseInt(colour.slice(1 + 2 * at, 3 + 2 * at), 16);
}

function recolour() {
  if (viewer.volumes.length < 2) return;
  const all = [{ name: "", colour: "#000000" }, ...state.scan.labels];
  const part = (at) => all.map((label) => channel(label.colour, at));
  viewer.volumes[1].setColormapLabel({
    R: part(0), G: part(1), B: part(2),
    A: all.map((label, index) => (index && !state.hidden.has(label.name) ? 255 : 0)),
    I: all.map((_, index) => index),
    labels: all.map((label) => label.name),
  });
  viewer.setOpacity(1, state.opacity);
  viewer.updateGLVolume();
}

function shape() {
  return viewer.volumes[0].dimsRAS.slice(1, 4);
}

function showSlider() {
  const axis = THROUGH[state.view];
  find("slice").disabled = axis === undefined || !viewer.volumes.length;
  if (find("slice").disabled) return;
  find("slice").max = shape()[axis] - 1;
  find("slice").value = Math.round(viewer.scene.crosshairPos[axis] * shape()[axis] - 0.5);
}

function moveTo(fraction) {
  if (!viewer.volumes.length) return;
  viewer.scene.crosshairPos = fraction;
  viewer.createOnLocationChange();
  viewer.drawScene();
  showSlider();
}

function setView(name) {
  state.view = name;
  viewer.setSliceType(VIEWS[name]);
  for (const button of find("views").children)
    button.setAttribute("aria-pressed", button.textContent === name);
  showSlider();
}

function tellPlace(location) {
  const values = location.values;
  const label = values.length > 1 ? state.scan.labels[Math.round(values[1].value) - 1] : undefined;
  const [x, y, z] = location.mm;
  find("place").textContent =
    `${label ? label.shown : "background"} at ${x.toFixed(0)}, ${y.toFixed(0)}, ${z.toFixed(0)} mm`;
}

function listLabels() {
  const list = find("labels");
  list.replaceChildren();
  for (const label of state.scan.labels) {
    const row = element("li");
    if (!label.ml) row.classList.add("absent");
    const box = element("input", undefined, { type: "checkbox", "aria-label": `show ${label.shown}` });
    box.checked = !state.hidden.has(label.name);
    box.addEventListener("change", () => {
      state.hidden[box.checked ? "delete" : "add"](label.name);
      if (viewer) recolour();
    });
    const swatch = element("span", undefined, { class: "swatch" });
    swatch.style.background = label.colour;
    const name = element("button", label.shown, { type: "button" });
    name.addEventListener("click", () => viewer && label.at && moveTo(label.at));
    row.append(box, swatch, name, element("span", label.told, label.doubted ? { class: "look" } : {}));
    if (label.range) row.append(element("span", label.range, { class: "range" }));
    list.append(row);
  }
}

function show(scan) {
  state.scan = scan;
  find("name").textContent = scan.name;
  find("about").textContent = scan.about;
  find("doubts").replaceChildren(
    ...scan.doubts.map((doubt) => element("li", doubt.text, { class: doubt.tone })));
  for (const row of document.querySelectorAll("tr[data-scan]"))
    row.classList.toggle("shown", data.scans[row.dataset.scan] === scan);
  listLabels();
  document.body.dataset.ready = "";
  if (!scan.image) say("This scan's pictures are not in this page.");
  else if (!viewer) say("This browser has no WebGL 2, which the pictures need.");
  else say("");
  drawn = drawn.then(() => viewer && draw(scan)).catch(
    (error) => say(`The pictures could not be shown: ${error.message}`));
  return drawn;
}

async function draw(scan) {
  if (state.scan !== scan) return; // another was chosen meanwhile
  while (viewer.volumes.length) viewer.removeVolume(viewer.volumes[0]);
  find("place").textContent = "";
  if (!scan.image) return showSlider();
  await viewer.loadFromArrayBuffer(bytes(scan.image), "scan.nii.gz");
  await viewer.loadFromArrayBuffer(bytes(scan.marks), "labels.nii.gz");
  if (state.scan !== scan) return;
  viewer.volumes[0].cal_min = 0;
  viewer.volumes[0].cal_max = 255;
  recolour();
  setView(state.view);
  const first = scan.labels.find((label) => label.at);
  moveTo(first ? first.at : [0.5, 0.5, 0.5]);
  document.body.dataset.ready = scan.name;
}

function say(text) {
  find("message").textContent = text;
}

function sortable(table) {
  table.querySelectorAll("th button").forEach((button, column) =>
    button.addEventListener("click", () => {
      const head = button.parentElement;
      const down = head.getAttribute("aria-sort") !== "descending" && column > 0
        || head.getAttribute("aria-sort") === "ascending";
      table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.children[column].dataset.value ?? row.children[column].textContent;
      const order = (a, b) => column > 0
        ? Number(key(a)) - Number(key(b)) : key(a).localeCompare(key(b));
      const rows = [...table.tBodies[0].rows].sort(order);
      table.tBodies[0].append(...(down ? rows.reverse() : rows));
    }));
}

async function start() {
  for (const name of Object.keys(VIEWS)) {
    const button = element("button", name, { type: "button" });
    button.addEventListener("click", () => viewer && setView(name));
    find("views").append(button);
  }
  find("opacity").addEventListener("input", (event) => {
    state.opacity = Number(event.target.value);
    if (viewer && viewer.volumes.length > 1) viewer.setOpacity(1, state.opacity);
  });
  find("slice").addEventListener("input", (event) => {
    const axis = THROUGH[state.view];
    const place = [...viewer.scene.crosshairPos];
    place[axis] = (Number(event.target.value) + 0.5) / shape()[axis];
    moveTo(place);
  });
  document.querySelectorAll("table.sortable").forEach(sortable);
  for (const row of document.querySelectorAll("tr[data-scan]"))
    row.addEventListener("click", () => show(data.scans[row.dataset.scan]));
  if (document.createElement("canvas").getContext("webgl2")) {
    const made = new niivue.Niivue({
      isRadiologicalConvention: true, backColor: [0, 0, 0, 1], show3Dcrosshair: true,
      crosshairWidth: 0.5, crosshairColor: [1, 1, 1, 0.6], isNearestInterpolation: false,
      loadingText: "", logLevel: "error", dragAndDropEnabled: false, multiplanarShowRender: 1,
      onLocationChange: (location) => { tellPlace(location); showSlider(); },
    });
    await made.attachToCanvas(find("canvas"));
    made.opts.multiplanarForceRender = true;
    viewer = made;
  }
  window.viewer = viewer;
  if (data.scans.length) await show(data.scans.find((scan) => scan.image) ?? data.scans[0]);
}

start().catch((error) => say(`The pictures could not be shown: ${error.message}`));
