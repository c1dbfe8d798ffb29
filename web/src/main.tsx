import "./index.css";

import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { App } from "./app";
import { Boundary } from "./components/Boundary";
import { takeKeyFromAddress } from "./lib/key";
import { followSystemTheme } from "./lib/theme";
import { applyLanguage } from "./lib/words";

takeKeyFromAddress();
followSystemTheme();
applyLanguage();

// A file that misses the place for files would take the browser away from the page.
for (const kind of ["dragover", "drop"] as const) {
  addEventListener(kind, (event) => {
    if (event.dataTransfer?.types.includes("Files")) event.preventDefault();
  });
}

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <Boundary>
      <App />
    </Boundary>
  </StrictMode>,
);
