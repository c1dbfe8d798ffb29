import js from "@eslint/js";
import reactHooks from "eslint-plugin-react-hooks";
import globals from "globals";
import tseslint from "typescript-eslint";

const FEATURES = ["signin", "projects", "conversations", "chat", "documents", "passage", "search", "models", "alerts"];

/** A feature imports lib and components; app.tsx alone puts features together. */
const apart = FEATURES.map((feature) => ({
  files: [`src/features/${feature}/**`],
  rules: {
    "no-restricted-imports": [
      "error",
      {
        patterns: [
          {
            group: [...FEATURES.filter((other) => other !== feature).flatMap((other) => [`@/features/${other}/*`, `**/${other}/*`])],
            message: "A feature never imports another feature: put what is shared in src/lib or src/components.",
          },
        ],
      },
    ],
  },
}));

export default tseslint.config(
  { ignores: ["dist", "src/lib/schema.ts"] },
  js.configs.recommended,
  ...tseslint.configs.strict,
  {
    files: ["**/*.{ts,tsx}"],
    languageOptions: { globals: globals.browser },
    plugins: { "react-hooks": reactHooks },
    rules: {
      ...reactHooks.configs.recommended.rules,
      "@typescript-eslint/no-non-null-assertion": "off",
      "@typescript-eslint/consistent-type-imports": "error",
    },
  },
  ...apart,
  {
    files: ["src/lib/**", "src/components/**"],
    rules: { "no-restricted-imports": ["error", { patterns: [{ group: ["@/features/*"], message: "Shared code imports no feature." }] }] },
  },
);
