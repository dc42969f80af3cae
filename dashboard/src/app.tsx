import { Suspense } from "react";
import { Redirect, Route, Switch } from "wouter";
import { pages } from "./pages";
import { Boundary } from "./ui/Boundary";
import { Empty } from "./ui/Empty";
import { Shell } from "./ui/Shell";

export function App() {
  return (
    <Shell>
      <Suspense fallback={null}>
        <Switch>
          {pages.map((page) => (
            <Route key={page.path} path={`${page.path}/*?`}>
              <Boundary>
                <page.view />
              </Boundary>
            </Route>
          ))}
          <Route path="/">
            <Redirect to="/chat" replace />
          </Route>
          <Route>
            <Empty title="There is no such page">Choose one from the bar above.</Empty>
          </Route>
        </Switch>
      </Suspense>
    </Shell>
  );
}
