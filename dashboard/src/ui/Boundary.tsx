import { Component, type ReactNode } from "react";
import { ApiProblem } from "../lib/problem";
import { Problem } from "./Problem";

/** A page that cannot be drawn says so, and the rest of the window goes on. */
export class Boundary extends Component<{ children: ReactNode }, { error: Error | null }> {
  override state = { error: null as Error | null };

  static getDerivedStateFromError(error: Error) {
    return { error };
  }

  override render() {
    const { error } = this.state;
    if (!error) return this.props.children;
    const stale = /dynamically imported module|Importing a module script failed/.test(error.message);
    const said = stale ? "The server has a newer dashboard, or does not answer. Load the page again." : error.message;
    return (
      <div style={{ maxWidth: 640, margin: "40px auto", padding: "0 16px" }}>
        <Problem error={new ApiProblem(0, "This page cannot be shown", said)} onRetry={() => location.reload()} />
      </div>
    );
  }
}
