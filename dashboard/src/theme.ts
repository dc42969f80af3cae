import { createTheme, type CSSVariablesResolver, type MantineColorsTuple } from "@mantine/core";

const petrol: MantineColorsTuple = [
  "#e9f5f3", "#d2e8e5", "#a6d3cd", "#79bdb4", "#4fa69c", "#2f8d84", "#1c7770", "#12645f", "#0d514d", "#083b38",
];
const brick: MantineColorsTuple = [
  "#fbeeec", "#f4d8d4", "#ebb3ab", "#e28b80", "#d8695b", "#cb4c3e", "#b3372f", "#982c26", "#7b211d", "#5b1613",
];
/** Cool, slightly green greys; index 7 is the dark page. */
const dark: MantineColorsTuple = [
  "#e3e9e6", "#c3ccc8", "#98a4a0", "#6f7b77", "#3c4644", "#2a3230", "#1b2120", "#101413", "#0b0e0e", "#070909",
];
const gray: MantineColorsTuple = [
  "#f7f8f6", "#eff1ee", "#e5e8e4", "#d9ddd8", "#c3c9c4", "#a2aaa5", "#737d79", "#4f5956", "#2f3735", "#171c1b",
];

const sans = '"IBM Plex Sans Variable", system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
const mono = '"IBM Plex Mono", ui-monospace, "SF Mono", Menlo, Consolas, monospace';

const veil = { backgroundOpacity: 0.3 };
const heading = { fontSize: 15, fontWeight: 600 };

export const theme = createTheme({
  primaryColor: "petrol",
  primaryShade: { light: 7, dark: 6 },
  colors: { petrol, brick, dark, gray },
  respectReducedMotion: true,
  cursorType: "pointer",
  defaultRadius: "sm",
  radius: { xs: "3px", sm: "5px", md: "7px", lg: "10px", xl: "16px" },
  fontFamily: sans,
  fontFamilyMonospace: mono,
  fontSizes: { xs: "12px", sm: "13px", md: "14px", lg: "16px", xl: "19px" },
  lineHeights: { xs: "1.4", sm: "1.45", md: "1.5", lg: "1.5", xl: "1.35" },
  spacing: { xs: "6px", sm: "10px", md: "16px", lg: "24px", xl: "36px" },
  headings: { fontFamily: sans, fontWeight: "600" },
  components: {
    Button: { defaultProps: { size: "sm" }, styles: { root: { fontWeight: 550 } } },
    ActionIcon: { defaultProps: { variant: "subtle", color: "gray", size: "md" } },
    TextInput: { defaultProps: { size: "sm" } },
    NumberInput: { defaultProps: { size: "sm", hideControls: true } },
    Select: { defaultProps: { size: "sm", allowDeselect: false, checkIconPosition: "right" } },
    Autocomplete: { defaultProps: { size: "sm" } },
    Tooltip: { defaultProps: { withArrow: true, openDelay: 350, multiline: true, maw: 320 } },
    Modal: { defaultProps: { centered: true, radius: "md", overlayProps: veil }, styles: { title: heading } },
    Drawer: { defaultProps: { overlayProps: veil }, styles: { title: heading } },
    Switch: { defaultProps: { size: "sm" } },
    Checkbox: { defaultProps: { size: "xs" } },
    SegmentedControl: { defaultProps: { size: "xs" } },
  },
});

export const variables: CSSVariablesResolver = () => ({
  variables: {},
  light: {
    "--mantine-color-body": "#ffffff",
    "--mantine-color-text": "#171c1b",
    "--mantine-color-dimmed": "#56605d",
    "--mantine-color-default-border": "#cfd5d0",
    "--mantine-color-placeholder": "#6d7773",
    "--mantine-color-error": "#b3372f",
    "--mantine-color-anchor": "#12645f",
  },
  dark: {
    "--mantine-color-body": "#161b1a",
    "--mantine-color-text": "#e3e9e6",
    "--mantine-color-dimmed": "#98a4a0",
    "--mantine-color-default-border": "#3a4442",
    "--mantine-color-placeholder": "#808c88",
    "--mantine-color-error": "#f08a7e",
    "--mantine-color-anchor": "#6cc9bd",
  },
});
