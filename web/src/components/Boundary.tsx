import { Component, type ReactNode } from "react";

import { ErrorNotice } from "./Notice";

/** One broken part does not take the page with it. */
export class Boundary extends Component<{ children: ReactNode }, { error: unknown }> {
  override state = { error: null as unknown };

  static getDerivedStateFromError(error: unknown) {
    return { error };
  }

  override render() {
    if (this.state.error === null) return this.props.children;
    return (
      <div className="p-6">
        <ErrorNotice error={this.state.error} onRetry={() => location.reload()} />
      </div>
    );
  }
}
