-- Clicks by link of a publication's articles: written by the engagement app in the statement that writes the windows.

CREATE TABLE publishing_link_clicks (
    publication_id bigint NOT NULL,
    run_id bigint NOT NULL,
    content_id bigint NOT NULL,
    -- The place of the link in its message.
    link smallint NOT NULL,
    -- As it was judged when it was counted.
    verdict text NOT NULL,
    total bigint NOT NULL,
    PRIMARY KEY (publication_id, run_id, content_id, link, verdict)
);

CREATE VIEW analytics.link_clicks AS
    SELECT l.publication_id, l.run_id, l.content_id, i.title, l.link, l.verdict, l.total
    FROM publishing_link_clicks l
    LEFT JOIN publishing_content i ON i.id = l.content_id;
COMMENT ON VIEW analytics.link_clicks IS
    'Clicks by article and link of a run, and by the verdict at the time they were counted.';
COMMENT ON COLUMN analytics.link_clicks.publication_id IS 'Publication.';
COMMENT ON COLUMN analytics.link_clicks.run_id IS 'Run of the publication.';
COMMENT ON COLUMN analytics.link_clicks.content_id IS 'Article.';
COMMENT ON COLUMN analytics.link_clicks.title IS 'Title of the article; null once the article is gone.';
COMMENT ON COLUMN analytics.link_clicks.link IS 'Place of the link in its message, from 0.';
COMMENT ON COLUMN analytics.link_clicks.verdict IS 'human, machine or unknown.';
COMMENT ON COLUMN analytics.link_clicks.total IS 'Clicks; repeats of one reader count each time.';

SELECT publishing_grant_analyst();
