// Runs before anything is painted, so that a chosen theme does not flash. A classic script: modules run later.

function chosenTheme() {
  try {
    return localStorage.getItem("theme") ?? "auto";
  } catch {
    return "auto"; // storage is off: the system's theme it is
  }
}

function applyTheme(theme) {
  if (theme === "auto") {
    delete document.documentElement.dataset.theme;
  } else {
    document.documentElement.dataset.theme = theme;
  }
}

function chooseTheme(theme) {
  applyTheme(theme);
  try {
    localStorage.setItem("theme", theme);
  } catch {
    // It holds until the page is left.
  }
}

const tellOfTheme = () => document.dispatchEvent(new Event("themechange"));

applyTheme(chosenTheme());
addEventListener("storage", () => {
  applyTheme(chosenTheme()); // chosen in another tab
  document.getElementById("theme").value = chosenTheme();
  tellOfTheme();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", tellOfTheme);
document.addEventListener("DOMContentLoaded", () => {
  const select = document.getElementById("theme");
  select.value = chosenTheme();
  select.addEventListener("change", () => {
    chooseTheme(select.value);
    tellOfTheme();
  });
});
