import { fromError } from "../lib/problem";
import classes from "./Problem.module.css";

/** An error as the API's problem document tells it. */
export function Problem({ error, onRetry }: { error: unknown; onRetry?: () => void }) {
  if (!error) return null;
  const problem = fromError(error);
  return (
    <div className={classes.problem} role="alert">
      <svg width="14" height="14" viewBox="0 0 14 14" aria-hidden="true">
        <path d="M7 1 13.2 12.5H.8Z" fill="none" stroke="currentColor" strokeWidth="1.5" strokeLinejoin="round" />
        <path d="M7 5v3.4M7 10.3v.2" stroke="currentColor" strokeWidth="1.5" strokeLinecap="round" />
      </svg>
      <div>
        <strong>{problem.status > 0 ? `${problem.title} (${problem.status})` : problem.title}</strong>
        <div className={classes.detail}>{problem.detail}</div>
        {problem.fields.length > 1 && (
          <ul>
            {problem.fields.map((entry) => (
              <li key={entry.field}>
                <code>{entry.field}</code> {entry.message}
              </li>
            ))}
          </ul>
        )}
        {onRetry && (
          <button type="button" className={classes.retry} onClick={onRetry}>
            Try again
          </button>
        )}
      </div>
    </div>
  );
}
