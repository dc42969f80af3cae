import { Drawer } from "@mantine/core";
import { useDisclosure, useMediaQuery } from "@mantine/hooks";
import { useRoute, useSearchParams } from "wouter";
import { useTitle } from "../../ui/useTitle";
import classes from "./ChatPage.module.css";
import { NewSession } from "./NewSession";
import { SessionList } from "./SessionList";
import { SessionView } from "./SessionView";

export default function ChatPage() {
  useTitle("Chat");
  const [, params] = useRoute("/chat/:id");
  const [search] = useSearchParams();
  const narrow = useMediaQuery("(max-width: 900px)", undefined, { getInitialValueInEffect: false });
  const [opened, { open, close }] = useDisclosure(false);
  const id = params?.id ?? null;
  const list = <SessionList current={id} onChosen={close} />;
  return (
    <div className={classes.page}>
      {narrow ? (
        <Drawer opened={opened} onClose={close} title="Sessions" size={300} closeButtonProps={{ "aria-label": "Close" }}>
          {list}
        </Drawer>
      ) : (
        <aside className={classes.side} aria-label="Sessions">
          {list}
        </aside>
      )}
      {id ? (
        <SessionView key={id} id={id} onOpenList={narrow ? open : undefined} />
      ) : (
        <NewSession key={search.get("model")} model={search.get("model")} onOpenList={narrow ? open : undefined} />
      )}
    </div>
  );
}
