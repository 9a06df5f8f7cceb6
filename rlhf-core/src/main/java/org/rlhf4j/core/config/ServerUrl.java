package org.rlhf4j.core.config;

import java.net.URI;
import java.net.URISyntaxException;
import java.util.regex.Pattern;

/** Tells the URL of a server from the path of a folder, where a key takes either. */
public final class ServerUrl {
  private static final Pattern SCHEME = Pattern.compile("[A-Za-z][A-Za-z0-9+.-]*://.*");

  private ServerUrl() {}

  /** Whether a text is meant as a URL: it begins with a scheme and {@code ://}. */
  public static boolean isMeant(String text) {
    return SCHEME.matcher(text).matches();
  }

  /**
   * The URL in a text.
   *
   * @throws IllegalArgumentException if it is not that of an HTTP server, or holds a password; the
   *     message says what was found and what is allowed
   */
  public static URI parse(String text) {
    URI url;
    try {
      url = new URI(text);
    } catch (URISyntaxException e) {
      // Without the text: it may hold a password.
      throw new IllegalArgumentException(
          "is no URL: %s at position %d".formatted(e.getReason(), e.getIndex() + 1), e);
    }
    if (String.valueOf(url.getRawAuthority()).contains("@")) {
      throw new IllegalArgumentException(
          "holds a user or a password, which would be stored with the configuration");
    }
    boolean http = "http".equalsIgnoreCase(url.getScheme());
    boolean https = "https".equalsIgnoreCase(url.getScheme());
    if (!(http || https) || url.getHost() == null || url.getRawFragment() != null) {
      throw new IllegalArgumentException(
          "is no URL of an HTTP server: "
              + text
              + "; http(s)://HOST[:PORT][/PATH] is expected, HOST of letters, digits, - and .");
    }
    return url;
  }
}
